"""Depthwise convolutions and their derivatives, compared with explicit sums over taps."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cases import check_derivatives, draw, mark_slow
from torch import Tensor

from darts.ops.grouped_conv import depthwise_conv2d

EXACT = {"rtol": 1e-11, "atol": 1e-11}
KERNELS = [3, 5, 7]
# Even and odd sizes, down to feature maps that are smaller than a window.
SIZES = [(8, 8), (9, 7), (6, 11), (10, 4), (5, 3), (4, 2), (2, 4), (3, 1), (1, 3), (2, 2), (1, 1)]
STRIDES = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)]  # (stride, dilation)


def convolve(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    side = weight.shape[-1]
    margin = dilation * (side // 2)
    padded = F.pad(x, (margin,) * 4)
    height, width = (math.ceil(length / stride) for length in x.shape[-2:])
    total = torch.zeros(*x.shape[:2], height, width, dtype=x.dtype)
    for row in range(side):
        for column in range(side):
            window = padded[:, :, row * dilation :, column * dilation :]
            window = window[:, :, ::stride, ::stride][:, :, :height, :width]
            total = total + weight[:, 0, row, column].view(1, -1, 1, 1) * window
    return total


# 165 cases; every 7th covers all combinations of kernel, stride and dilation, and all sizes.
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "size"),
    mark_slow(
        [(k, *stride, size) for k in KERNELS for stride in STRIDES for size in SIZES],
        except_every=7,
    ),
)
def test_values_and_gradients_match_explicit_taps(
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
