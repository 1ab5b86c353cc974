"""Even and odd pixels, compared with slices, and repeated channels."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients, check_derivatives, mark_slow
from torch import Tensor

from darts.ops.pixels import repeat_groups, repeat_per_channel, split_even_odd

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
    torch.testing.assert_close(*actual)
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in actual[0][:2])


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 2)], ids=lambda size: "{}x{}".format(*size))
def test_first_and_second_derivatives(size: tuple[int, int]) -> None:
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
