"""Even and odd pixels, compared with slices."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from cases import mark_slow
from torch import Tensor

from darts.ops.pixels import split_even_odd

SIZES = [(8, 8), (4, 6), (5, 4), (4, 5), (3, 7), (2, 1), (1, 2), (1, 1)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


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
    for a, b in zip(*actual, strict=True):
        torch.testing.assert_close(a, b)
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in actual[0][:2])


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 2)], ids=lambda size: "{}x{}".format(*size))
def test_first_and_second_derivatives(size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, *size, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(split_even_odd, x)
    assert torch.autograd.gradgradcheck(split_even_odd, x)
