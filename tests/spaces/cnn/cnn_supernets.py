"""Pairs of edge-wise and fast supernets with the same weights, and comparisons of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from oracles.comparing import assert_same, gradients
from torch import Tensor, nn

from darts.spaces.cnn import EdgewiseSupernet, Supernet, fuse_state_dict
from darts.spaces.cnn.operations import FACTORIES

REPEATABLE = tuple(name for name in FACTORIES if name != "noise")  # noise draws random numbers
# Cells 1 and 2 are reduction cells, 0 and 3 normal cells.
SMALL: dict[str, Any] = {"channels": 3, "cells": 4, "classes": 4, "nodes": 2}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
        ],
    ),
]


def slow_except(rows: Iterable[Any], everyday: Collection[Any]) -> list[Any]:
    """Return the rows of a parametrized test, all marked slow except the everyday ones."""
    return [
        row
        if row in everyday
        else pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.slow)
        for row in rows
    ]


class Pair(NamedTuple):
    """An edge-wise and a fast supernet of the same function."""

    slow: EdgewiseSupernet
    fast: Supernet


def make_pair(*, dtype: torch.dtype = torch.float64, device: str = "cpu", **options: Any) -> Pair:
    """Return both supernets with the weights of seed 0 and alphas far from uniform."""
    made = []
    for kind in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = kind(**SMALL | options)
        for alpha in net.alphas.values():  # so that swapped rows change the result
            nn.init.normal_(alpha)
        made.append(net.to(dtype).to(device))
    return Pair(*made)


def fused(slow: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors named like the edge-wise state dict to the names of the fast one."""
    return fuse_state_dict(slow.state_dict() | dict(values))


def assert_same_gradients(pair: Pair, **limits: float) -> None:
    assert_same(gradients(pair.fast), fused(pair.slow, gradients(pair.slow)), **limits)


def assert_same_state(pair: Pair, **limits: float) -> None:
    expected = fuse_state_dict(pair.slow.state_dict())
    assert set(pair.fast.state_dict()) == set(expected)
    assert_same(pair.fast.state_dict(), expected, **limits)


def relative_error(actual: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """Return the norm of the difference of all tensors divided by the norm of the exact ones."""
    a, b = (torch.cat([x.detach().double().flatten() for x in xs]) for xs in (actual, exact))
    return float((a - b).norm() / b.norm())
