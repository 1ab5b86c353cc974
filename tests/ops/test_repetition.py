"""Repetition of mixing weights and of groups of channels."""

from __future__ import annotations

import pytest
import torch

from darts.ops.pixels import repeat_groups, repeat_per_channel


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
    out = torch.rand_like(expected)
    gradients = [torch.autograd.grad(y, x, out)[0] for y in (actual, expected)]
    torch.testing.assert_close(*gradients)
