"""Pointwise convolutions, compared with matrix products, and the tensors that they save."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients, check_derivatives, draw
from torch import Tensor

from darts.ops.pointwise import PointwiseConv2d, pointwise_conv2d

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
