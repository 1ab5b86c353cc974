"""The fused convolution, compared with two separate convolutions."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from cases import mark_slow
from torch import Tensor

from darts.ops.fused_conv import fused_separable_conv2d


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def separate_convolutions(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, *, stride: int, dilation: int, groups: int
) -> Tensor:
    padding = dilation * (depthwise.shape[-1] // 2)
    y = F.conv2d(x, depthwise, None, stride, padding, dilation, groups=x.shape[1])
    return F.conv2d(y, pointwise, groups=groups)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups", "outputs", "size"),
    mark_slow(
        itertools.product(
            [3, 5, 7], [1, 2], [1, 2], [1, 2, 5], [2, 3, 5], [(6, 8), (7, 5), (2, 1)]
        ),
        except_every=11,
    ),
)
def test_values_and_gradients_match_two_convolutions(
    kernel: int, stride: int, dilation: int, groups: int, outputs: int, size: tuple[int, int]
) -> None:
    inputs = [
        draw(2, groups * 3, *size, seed=0),
        draw(groups * 3, 1, kernel, kernel, seed=1),
        draw(groups * outputs, 3, 1, 1, seed=2),
    ]
    actual = []
    for function in (fused_separable_conv2d, separate_convolutions):
        y = function(*inputs, stride=stride, dilation=dilation, groups=groups)
        gradients = torch.autograd.grad(y.sin().sum(), inputs)
        actual.append((y, *gradients))
    for a, b in zip(*actual, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_second_derivatives_match_finite_differences() -> None:
    inputs = (draw(1, 4, 4, 3, seed=0), draw(4, 1, 3, 3, seed=1), draw(4, 2, 1, 1, seed=2))
    assert torch.autograd.gradgradcheck(
        lambda *arguments: fused_separable_conv2d(*arguments, stride=2, dilation=1, groups=2),
        inputs,
        fast_mode=True,
    )


@pytest.mark.parametrize(("inputs", "groups"), [(1, 3), (2, 6), (2, 2)])
def test_neighboring_groups_may_share_their_input(inputs: int, groups: int) -> None:
    x, depthwise = draw(2, inputs * 3, 6, 5, seed=0), draw(groups * 3, 1, 3, 3, seed=1)
    pointwise = draw(groups * 2, 3, 1, 1, seed=2)
    options = {"stride": 1, "dilation": 2, "groups": groups}
    actual = fused_separable_conv2d(x, depthwise, pointwise, **options)
    own = [part for part in x.chunk(inputs, 1) for _ in range(groups // inputs)]
    expected = separate_convolutions(torch.cat(own, 1), depthwise, pointwise, **options)
    torch.testing.assert_close(actual, expected)
    leaves = [x, depthwise, pointwise]
    out = torch.randn_like(expected)
    for a, b in zip(
        *(torch.autograd.grad(y, leaves, out) for y in (actual, expected)), strict=True
    ):
        torch.testing.assert_close(a, b)
