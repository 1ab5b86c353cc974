"""The edge-wise supernet and the fast one with the same weights, and how to compare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from darts.spaces.cnn import EdgewiseSupernet, Supernet, fuse_state_dict
from darts.spaces.cnn.operations import FACTORIES

REPEATABLE = tuple(name for name in FACTORIES if name != "noise")  # which draws
# Cell 0 is normal, 1 and 2 are reduction cells, 3 is normal again.
SMALL: dict[str, Any] = {"channels": 3, "cells": 4, "classes": 4, "nodes": 2}
EXACT = {"rtol": 1e-9, "atol": 1e-9}
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


class Pair(NamedTuple):
    """Two networks that compute the same."""

    slow: EdgewiseSupernet
    fast: Supernet


def make_pair(*, dtype: torch.dtype = torch.float64, device: str = "cpu", **options: Any) -> Pair:
    """Both networks with the weights that the seed 0 gives, and alphas far from uniform."""
    made = []
    for kind in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = kind(**SMALL | options)
        for alpha in net.alphas.values():  # a mix-up of rows shows
            nn.init.normal_(alpha)
        made.append(net.to(dtype).to(device))
    return Pair(*made)


def images(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def labels(number: int, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(SMALL["classes"], (number,), generator=generator)


def fused(slow: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to the weights of the edge-wise network, ordered as the fast one has it."""
    return fuse_state_dict(slow.state_dict() | dict(values))


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Of every parameter; one that takes no part in the loss has a gradient of zero."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in net.named_parameters()
    }


def assert_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], **limits: float) -> None:
    """Every tensor of ``found`` is, to the limits, the one of that name."""
    assert found
    for name, value in found.items():
        torch.testing.assert_close(
            value, wanted[name], **(limits or EXACT), msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same_gradients(pair: Pair, **limits: float) -> None:
    assert_same(gradients(pair.fast), fused(pair.slow, gradients(pair.slow)), **limits)


def assert_same_state(pair: Pair, **limits: float) -> None:
    wanted = fuse_state_dict(pair.slow.state_dict())
    assert set(pair.fast.state_dict()) == set(wanted)
    assert_same(pair.fast.state_dict(), wanted, **limits)


def relative_error(found: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """Norm of the difference over the norm of the exact values, all tensors taken together."""
    a, b = (torch.cat([x.detach().double().flatten() for x in xs]) for xs in (found, exact))
    return float((a - b).norm() / b.norm())
