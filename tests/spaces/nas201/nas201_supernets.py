"""Pairs of NAS-Bench-201 supernets with the same weights, and comparisons of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, assert_same, gradients, labels
from oracles.nas201_supernet import EdgewiseSupernet, fuse_state_dict
from torch import Tensor, nn

from darts.spaces.nas201 import Supernet

SMALL: dict[str, Any] = {"channels": 4, "cells": 1, "classes": 4}


class Pair(NamedTuple):
    """An edge-wise and a fast supernet of the same function."""

    slow: EdgewiseSupernet
    fast: Supernet


def make_pair(**options: Any) -> Pair:
    """Return both supernets in float64 with the weights of seed 0 and alphas far from uniform."""
    made = []
    for kind in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        net = kind(**SMALL | options)
        nn.init.normal_(net.alphas["cell"])  # so that swapped rows change the result
        made.append(net.double())
    return Pair(*made)


def backward(net: nn.Module, x: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """Compute the gradients of the loss and return the logits."""
    logits = net(x, weights)
    F.cross_entropy(logits, labels(len(x))).backward()
    return logits.detach()


def fused(slow: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors named like the edge-wise state dict to the names of the fast one."""
    return fuse_state_dict(slow.state_dict() | dict(values))


def check(pair: Pair, x: Tensor, weights: Any = None) -> None:
    """Compare logits, gradients and running statistics, in training and in evaluation."""
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
