"""Grouped and depthwise convolutions: their outputs, gradients and second derivatives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import check_derivatives, draw, mark_slow
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from darts.ops.grouped_conv import (
    avg_pool3x3,
    depthwise_conv2d,
    differentiable_twice,
    grouped_conv2d,
)

OPTIONS = [
    {"stride": 1, "padding": 1, "dilation": 1, "groups": 4},
    {"stride": 2, "padding": 2, "dilation": 2, "groups": 2},
    {"stride": 2, "padding": 0, "dilation": 1, "groups": 1},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_two_derivatives_are_those_of_pytorch(options: dict[str, int]) -> None:
    x = draw(2, 4, 7, 6).requires_grad_()
    weight = draw(8, 4 // options["groups"], 3, 3, seed=1).requires_grad_()
    results = []
    for function in (grouped_conv2d, F.conv2d):
        with differentiable_twice():
            y = function(x, weight, **options)  # type: ignore[operator]
        first = torch.autograd.grad(y.sin().sum(), (x, weight), create_graph=True)
        penalty = sum((g.cos() * g).sum() for g in first)
        results.append([y, *first, *torch.autograd.grad(penalty, (x, weight))])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


class Convolutions(TorchDispatchMode):
    """Counts the convolutions and their backward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[1]
        if "convolution" in name:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def count_of_second_derivatives(channels: int) -> int:
    """Return the convolutions of a second derivative of two depthwise convolutions."""
    x = draw(2, channels, 6, 6).requires_grad_()
    weight = draw(channels, 1, 3, 3, seed=1).requires_grad_()
    with differentiable_twice():
        y = depthwise_conv2d(depthwise_conv2d(x, weight).relu(), weight, 2).sin().sum()
    (gradient,) = torch.autograd.grad(y, weight, create_graph=True)
    with Convolutions() as mode:
        torch.autograd.grad(gradient.square().sum(), x)
    return sum(mode.counts.values())


def test_second_derivatives_take_as_many_kernels_for_many_groups_as_for_few() -> None:
    assert count_of_second_derivatives(16) == count_of_second_derivatives(3) < 25


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 1, 1, 1), (2, 5, 1, 4), (3, 2, 7, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_and_its_derivatives_match_pytorch(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    actual = []
    for pool in (avg_pool3x3, lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)):
        x = draw(*shape).contiguous(memory_format=layout).requires_grad_()
        y = pool(x)
        (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * draw(*shape, seed=3)).sum(), x)
        actual.append((y, first, second))
    torch.testing.assert_close(*actual, rtol=1e-9, atol=1e-9)


def test_pooling_keeps_the_dtype_under_autocast() -> None:
    x = draw(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            y = avg_pool3x3(x.to(dtype))
            assert y.dtype == dtype
            limit = 1e-5 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(y.double(), avg_pool3x3(x), rtol=limit, atol=limit)


EXACT = {"rtol": 1e-11, "atol": 1e-11}
KERNELS = [3, 5, 7]
# Even and odd sizes, down to feature maps that are smaller than a window.
SIZES = [(8, 8), (9, 7), (6, 11), (10, 4), (5, 3), (4, 2), (2, 4), (3, 1), (1, 3), (2, 2), (1, 1)]
STRIDES = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)]  # (stride, dilation)


def convolve(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, None, stride, padding, dilation, groups=x.shape[1])


# 165 cases; every 7th covers all combinations of kernel, stride and dilation, and all sizes.
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "size"),
    mark_slow(
        [(k, *stride, size) for k in KERNELS for stride in STRIDES for size in SIZES],
        except_every=7,
    ),
)
def test_values_and_gradients_match_pytorch(
    kernel: int, stride: int, dilation: int, size: tuple[int, int]
) -> None:
    actual = []
    for function in (depthwise_conv2d, convolve):
        x, weight = draw(2, 3, *size), draw(3, 1, kernel, kernel, seed=1).requires_grad_()
        if sum(size) % 2:
            x = x.contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        y = function(x, weight, stride, dilation)
        y.backward(draw(*y.shape, seed=2))
        actual.append((y.detach(), x.grad, weight.grad))
    torch.testing.assert_close(*actual, **EXACT)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "size"),
    mark_slow(
        [
            (k, *stride, size)
            for k in KERNELS
            for stride in STRIDES[:4]
            for size in [(4, 4), (3, 5), (1, 2)]
        ],
        except_every=5,
    ),
)
def test_first_and_second_derivatives(
    kernel: int, stride: int, dilation: int, size: tuple[int, int]
) -> None:
    x = draw(1, 2, *size).requires_grad_()
    weight = draw(2, 1, kernel, kernel, seed=1).requires_grad_()
    check_derivatives(lambda x, w: depthwise_conv2d(x, w, stride, dilation), x, weight, fast=True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_autocast_falls_back_to_pytorch(kernel: int) -> None:
    x, weight = draw(2, 3, 6, 6).float().requires_grad_(), draw(3, 1, kernel, kernel, seed=1)
    weight = weight.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = depthwise_conv2d(x, weight)
    assert y.dtype == torch.bfloat16
    exact = convolve(x, weight, 1, 1)
    torch.testing.assert_close(y.float(), exact, rtol=0.02, atol=0.1)
    for actual, wanted in zip(
        torch.autograd.grad(y.float().square().sum(), [x, weight]),
        torch.autograd.grad(exact.square().sum(), [x, weight]),
        strict=True,
    ):
        assert float((actual - wanted).norm() / wanted.norm()) < 2**-6
