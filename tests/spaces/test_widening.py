"""Wider operations compute the outputs of narrower ones (arXiv:1511.05641, section 2.2)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.supernet_pairs import ORACLES
from torch import Tensor, nn

from darts.spaces.cnn import Supernet
from darts.spaces.cnn.candidates import candidate_operations
from darts.spaces.cnn.edge_bundle import EdgeBundle
from darts.spaces.cnn.operations import FactorizedReduce
from darts.spaces.supernet import widen

widths = st.tuples(st.integers(1, 4), st.integers(0, 5)).map(lambda pair: (pair[0], sum(pair)))


def chain(a: int, b: int, c: int) -> nn.Sequential:
    """Return a convolution and a separable convolution, each with its norm."""
    return nn.Sequential(
        nn.Conv2d(a, b, 3, padding=1, bias=False),
        nn.BatchNorm2d(b, affine=False),
        nn.ReLU(),
        nn.Conv2d(b, b, 3, padding=2, dilation=2, groups=b, bias=False),
        nn.Conv2d(b, c, 1),
        nn.BatchNorm2d(c),
    ).double()


def repeated(x: Tensor, width: int) -> Tensor:
    return torch.stack([x[:, i % x.shape[1]] for i in range(width)], dim=1)


@given(widths, widths, widths, st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_a_wider_chain_repeats_the_output_channels(
    a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    narrow, wide = (chain(a[side], b[side], c[side]) for side in (0, 1))
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.normal_()
    for _ in range(2):  # changes the running statistics
        narrow(torch.randn(5, a[0], 6, 5, dtype=torch.float64))
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict()))
    x = torch.randn(4, a[0], 6, 5, dtype=torch.float64)
    for training in (False, True):
        narrow.train(training)
        wide.train(training)
        torch.testing.assert_close(wide(repeated(x, a[1])), repeated(narrow(x), c[1]))


@pytest.mark.parametrize(("old", "new"), [(4, 8), (6, 10), (5, 7)])
def test_a_wider_factorized_reduce_repeats_the_channels_of_each_half(old: int, new: int) -> None:
    torch.manual_seed(old)
    narrow, wide = (FactorizedReduce(3, width).double() for width in (old, new))
    for _ in range(3):  # changes the running statistics
        narrow(torch.randn(6, 3, 6, 6, dtype=torch.float64).mul(2))
    with torch.no_grad():
        narrow.norm.weight.normal_()
        narrow.norm.bias.normal_()
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict()))
    x = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    for training in (False, True):
        halves = narrow.train(training)(x).split([old // 2, old - old // 2], dim=1)
        sides = (new // 2, new - new // 2)
        expected = [repeated(half, side) for half, side in zip(halves, sides, strict=True)]
        torch.testing.assert_close(wide.train(training)(x), torch.cat(expected, dim=1))


@pytest.mark.parametrize("space", ORACLES)
def test_a_fast_supernet_is_widened_like_the_edgewise_one(space: str) -> None:
    oracle = ORACLES[space]
    narrow, wide = (oracle.slow(**oracle.small | {"channels": 8, "partial": n}) for n in (4, 2))
    narrow(torch.randn(3, 3, 8, 8))  # changes the running statistics
    expected = oracle.fuse(widen(narrow.state_dict(), wide.state_dict()))
    fast = oracle.fast(**oracle.small | {"channels": 8, "partial": 2})
    actual = fast.widened(oracle.fuse(narrow.state_dict()))
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_each_edge_repeats_its_own_channels_if_edges_have_different_candidates() -> None:
    """In S1, an operation is a candidate of some edges of a bundle only."""
    options = {"channels": 8, "cells": 3, "classes": 3, "operations": candidate_operations("s1")}
    narrow, wide = Supernet(**options, partial=4), Supernet(**options, partial=2)
    wide.load_state_dict(wide.widened(narrow.state_dict()))
    compared = 0
    for before, after in zip(narrow.modules(), wide.modules(), strict=True):
        if not isinstance(before, EdgeBundle):
            continue
        for (_, _, owners), old, new in zip(
            before.owners, before.operations, after.operations, strict=True
        ):
            for small, large in zip(_convolutions(old), _convolutions(new), strict=True):
                chunks = (weight.chunk(len(owners)) for weight in (small, large))
                for a, b in zip(*chunks, strict=True):
                    expected = torch.cat([a, a])
                    if a.shape[1] != b.shape[1]:
                        expected = torch.cat([expected, expected], dim=1) / 2
                    assert torch.equal(b, expected)
                    compared += 1
    assert compared > 50


def _convolutions(operation: nn.Module) -> list[Tensor]:
    """Return the weights of the convolutions that have no halves, see ``FactorizedReduce``."""
    if isinstance(operation, FactorizedReduce):
        return []
    return [m.weight.detach() for m in operation.modules() if isinstance(m, nn.Conv2d)]
