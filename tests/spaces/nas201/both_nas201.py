"""Both supernets of NAS-Bench-201 with the same weights, and how to compare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.nas201 import EdgewiseSupernet, Supernet, fuse_state_dict

SMALL: dict[str, Any] = {"channels": 4, "cells": 1, "classes": 4}
EXACT = {"rtol": 1e-9, "atol": 1e-9}


class Pair(NamedTuple):
    """Two networks that compute the same."""

    slow: EdgewiseSupernet
    fast: Supernet


def make_pair(**options: Any) -> Pair:
    """Both networks in float64 with the weights of one seed, and alphas far from uniform."""
    made = []
    for kind in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = kind(**SMALL | options)
        nn.init.normal_(net.alphas["cell"])  # a mix-up of rows shows
        made.append(net.double())
    return Pair(*made)


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(number: int, seed: int = 2) -> Tensor:
    return torch.randint(4, (number,), generator=torch.Generator().manual_seed(seed))


def backward(net: nn.Module, x: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """The logits; the gradients of the loss are in the net."""
    logits = net(x, weights)
    F.cross_entropy(logits, labels(len(x))).backward()
    return logits.detach()


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Of every parameter; one that takes no part in the loss has a gradient of zero."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in net.named_parameters()
    }


def fused(slow: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to the weights of the edge-wise network, ordered as the fast one has it."""
    return fuse_state_dict(slow.state_dict() | dict(values))


def assert_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Every tensor of ``found`` is, to rounding, the one of that name."""
    assert found
    for name, value in found.items():
        torch.testing.assert_close(
            value, wanted[name], **EXACT, msg=lambda text, name=name: f"{name}: {text}"
        )


def check(pair: Pair, x: Tensor, weights: Any = None) -> None:
    """Logits, gradients, running statistics, and all of it in evaluation."""
    for training in (True, False):
        for net in pair:
            net.train(training)
            net.zero_grad()
        torch.testing.assert_close(
            backward(pair.fast, x, weights), backward(pair.slow, x, weights), **EXACT
        )
        assert_same(gradients(pair.fast), fused(pair.slow, gradients(pair.slow)))
        state = fused(pair.slow, {})
        assert set(pair.fast.state_dict()) == set(state)
        assert_same(pair.fast.state_dict(), state)
