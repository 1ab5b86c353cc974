"""Pointwise and separable convolutions, even and odd pixels, and repeated channels."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients, check_derivatives, draw, mark_slow
from torch import Tensor

from darts.ops.dispatch import CPU, GPU, TENSOR_CORES, UNLIMITED, KernelPlan, plan_kernels
from darts.ops.pixels import repeat_groups, repeat_per_channel, split_even_odd
from darts.ops.pointwise import PointwiseConv2d, pointwise_conv2d, separable_conv

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def product(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    pairs = zip(x.chunk(groups, dim=1), weight[:, :, 0, 0].chunk(groups), strict=True)
    return torch.cat([torch.einsum("dc,bchw->bdhw", w, channels) for channels, w in pairs], dim=1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wanted", ["x", "weight", "both"])
@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(1, 3, 5), (2, 3, 3), (3, 2, 4)])
def test_values_and_gradients_match_matrix_products(
    groups: int, inputs: int, outputs: int, wanted: str, layout: torch.memory_format
) -> None:
    x = draw(2, groups * inputs, 5, 3).contiguous(memory_format=layout)
    weight = draw(groups * outputs, inputs, 1, 1, seed=1)
    needed = {"x": [x], "weight": [weight], "both": [x, weight]}[wanted]
    for tensor in needed:
        tensor.requires_grad_()
    actual, expected = (f(x, weight, groups) for f in (pointwise_conv2d, product))
    assert_same_gradients(actual, expected, needed, 1e-12)


@pytest.mark.parametrize("constant", [False, True])
def test_first_and_second_derivatives(constant: bool) -> None:
    x = draw(1, 4, 2, 3).requires_grad_()
    weight = draw(6, 2, 1, 1, seed=1).requires_grad_(not constant)
    check_derivatives(lambda x, w: pointwise_conv2d(x, w, 2).sin(), x, weight, fast=True)


@pytest.mark.parametrize("constant", [False, True])
def test_input_is_saved_only_if_the_weight_needs_a_gradient(constant: bool) -> None:
    saved: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.data_ptr())
        return tensor

    x = draw(2, 3, 4, 4).requires_grad_()
    weight = draw(3, 3, 1, 1, seed=1).requires_grad_(not constant)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        pointwise_conv2d(x, weight)
    assert (x.data_ptr() in saved) == (not constant)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", [1, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_module_equals_a_strided_convolution(
    stride: int, side: int, layout: torch.memory_format
) -> None:
    module = PointwiseConv2d(3, 2, stride=stride).double()
    x = draw(2, 3, side, side + 1).contiguous(memory_format=layout)
    expected = F.conv2d(x.contiguous(), module.weight, stride=stride)
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)
    assert list(module.state_dict()) == ["weight"]


MANY_STEPS = """
import torch
from darts.spaces.cnn import EdgewiseSupernet
torch.manual_seed(0)
net = EdgewiseSupernet(channels=2, cells=2, nodes=1, classes=3)
net.to(memory_format=torch.channels_last)
for _ in range(40):
    net(torch.randn(16, 3, 8, 8)).logsumexp(1).sum().backward()
    unused = [torch.empty(n) for n in range(1, 200, 7)]
"""


def test_gradients_of_reductions_with_few_channels_leave_memory_intact() -> None:
    """With strided convolutions of PyTorch 2.13, some processors write outside of the gradient."""
    done = subprocess.run([sys.executable, "-c", MANY_STEPS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


PLANS = {"plain": KernelPlan(UNLIMITED), "fused": KernelPlan(UNLIMITED, fused=True)}


def separate_convolutions(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, *, stride: int, dilation: int, groups: int
) -> Tensor:
    padding = dilation * (depthwise.shape[-1] // 2)
    y = F.conv2d(x, depthwise, None, stride, padding, dilation, groups=x.shape[1])
    return F.conv2d(y, pointwise, groups=groups)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_all_plans_agree(plan: str, groups: int, stride: int, dilation: int, kernel: int) -> None:
    inputs = [
        draw(3, groups * 4, 7, 6).requires_grad_(),
        draw(groups * 4, 1, kernel, kernel, seed=1).requires_grad_(),
        draw(groups * 3, 4, 1, 1, seed=2).requires_grad_(),
    ]
    options: Any = {"stride": stride, "dilation": dilation, "groups": groups}
    actual = separable_conv(*inputs, **options, plan=PLANS[plan])
    expected = separate_convolutions(*inputs, **options)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    assert_same_gradients(actual, expected, inputs)


def test_plan_depends_on_device_and_precision() -> None:
    class FakeTensor:
        def __init__(self, device: str, dtype: torch.dtype = torch.float32) -> None:
            self.device, self.dtype = torch.device(device), dtype

    def plan_for(device: str, dtype: torch.dtype = torch.float32) -> KernelPlan:
        x: Any = FakeTensor(device, dtype)
        return plan_kernels(x)

    assert plan_for("cpu") == plan_for("cpu", torch.bfloat16) == CPU
    assert plan_for("cuda") == GPU
    assert plan_for("cuda", torch.float16) == plan_for("cuda", torch.bfloat16) == TENSOR_CORES


@pytest.mark.parametrize(
    ("max_bytes", "edges"), [(1, 1), (4 * 24, 1), (4 * 48, 2), (UNLIMITED, 2**54)]
)
def test_edges_per_kernel_depend_on_the_size_of_the_input(max_bytes: int, edges: int) -> None:
    actual = KernelPlan(max_bytes).edges_per_kernel(torch.zeros(2, 3, 4, 1))
    assert actual == edges if edges < 3 else actual > 1000


def test_second_derivatives_of_the_fused_convolution() -> None:
    shapes = ((1, 4, 4, 3), (4, 1, 3, 3), (4, 2, 1, 1))
    inputs = (draw(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes))
    convolve = partial(separable_conv, stride=2, dilation=1, groups=2, plan=PLANS["fused"])
    check_derivatives(convolve, *inputs, fast=True)


@pytest.mark.parametrize(("inputs", "groups"), [(1, 3), (2, 6), (2, 2)])
def test_neighboring_groups_may_share_their_input(inputs: int, groups: int) -> None:
    shapes = ((2, inputs * 3, 6, 5), (groups * 3, 1, 3, 3), (groups * 2, 3, 1, 1))
    leaves = [draw(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]
    x, depthwise, pointwise = leaves
    options: dict[str, int] = {"stride": 1, "dilation": 2, "groups": groups}
    actual = separable_conv(x, depthwise, pointwise, **options, plan=PLANS["fused"])
    own = [part for part in x.chunk(inputs, 1) for _ in range(groups // inputs)]
    expected = separate_convolutions(torch.cat(own, 1), depthwise, pointwise, **options)
    assert_same_gradients(actual, expected, leaves)


SIZES = [(8, 8), (4, 6), (5, 4), (4, 5), (3, 7), (2, 1), (1, 2), (1, 1)]


def plain(x: Tensor) -> tuple[Tensor, Tensor]:
    height, width = x.shape[-2:]
    return x[..., ::2, ::2], F.pad(x, (0, width % 2, 0, height % 2))[..., 1::2, 1::2]


@pytest.mark.parametrize(
    ("size", "used", "layout"),
    mark_slow(itertools.product(SIZES, ["even", "odd", "both"], LAYOUTS), except_every=5),
)
def test_values_and_gradients_match_slices(
    size: tuple[int, int], used: str, layout: torch.memory_format
) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=layout)
    x.requires_grad_()
    actual = []
    for function in (split_even_odd, plain):
        even, odd = function(x)
        chosen = {"even": [even], "odd": [odd], "both": [even, odd]}[used]
        loss = sum((y.sin() * torch.arange(y.numel()).view(y.shape)).sum() for y in chosen)
        (gradient,) = torch.autograd.grad(loss, x)
        actual.append((even, odd, gradient))
    torch.testing.assert_close(*actual)
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in actual[0][:2])


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 2)], ids=lambda size: "{}x{}".format(*size))
def test_derivatives_of_even_and_odd_pixels(size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, *size, dtype=torch.float64).requires_grad_()
    check_derivatives(split_even_odd, x)


@pytest.mark.parametrize("edges", [1, 3])
def test_the_weight_of_each_edge_is_repeated_without_strides_of_zero(edges: int) -> None:
    scale = torch.rand(edges, dtype=torch.float64, requires_grad=True)
    repeated = repeat_per_channel(scale, 4)
    assert torch.equal(repeated, scale.repeat_interleave(4))
    assert repeated.stride() == (1,)
    assert torch.autograd.gradcheck(lambda x: repeat_per_channel(x, 4), scale)


@pytest.mark.parametrize(("groups", "times"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_groups_of_channels_are_repeated_in_channels_last_layout(groups: int, times: int) -> None:
    x = torch.rand(2, groups * 3, 4, 5, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = torch.cat([part for part in x.chunk(groups, 1) for _ in range(times)], dim=1)
    actual = repeat_groups(x, groups, times)
    assert torch.equal(actual, expected)
    assert actual.is_contiguous(memory_format=torch.channels_last)
    assert_same_gradients(actual, expected, [x])
