"""Pairs of edge-wise and fast supernets with the same weights, and comparisons of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from oracles import nas201_supernet
from oracles.comparing import EXACT, assert_same, gradients, images, labels
from torch import Tensor, nn

from darts.spaces import cnn
from darts.spaces.cnn.operations import FACTORIES
from darts.spaces.nas201.supernet import Supernet as Nas201Supernet

REPEATABLE = tuple(name for name in FACTORIES if name != "noise")  # noise draws random numbers
Fuse = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class Oracle(NamedTuple):
    """The edge-wise and the fast supernet of a space, and arguments of a small one."""

    slow: Any
    fast: Any
    fuse: Fuse
    small: dict[str, Any]


ORACLES = {
    "cnn": Oracle(
        cnn.EdgewiseSupernet,
        cnn.Supernet,
        cnn.fuse_state_dict,
        # Cells 1 and 2 are reduction cells, 0 and 3 normal cells.
        {"channels": 3, "cells": 4, "classes": 4, "nodes": 2},
    ),
    "nas201": Oracle(
        nas201_supernet.EdgewiseSupernet,
        Nas201Supernet,
        nas201_supernet.fuse_state_dict,
        {"channels": 4, "cells": 1, "classes": 4},
    ),
}


@dataclass
class Pair:
    slow: Any
    fast: Any
    fuse: Fuse

    def __iter__(self) -> Iterator[Any]:
        return iter((self.slow, self.fast))

    def fused(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert tensors named like the edge-wise state dict to the names of the fast one."""
        return self.fuse(self.slow.state_dict() | dict(values))


def make_pair(
    space: str = "cnn", *, dtype: torch.dtype = torch.float64, device: str = "cpu", **options: Any
) -> Pair:
    """Return both supernets with the weights of seed 0 and alphas far from uniform."""
    oracle, made = ORACLES[space], []
    for kind in (oracle.slow, oracle.fast):
        torch.manual_seed(0)
        net = kind(**oracle.small | options)
        for alpha in net.alphas.values():  # so that swapped rows change the result
            nn.init.normal_(alpha)
        made.append(net.to(dtype).to(device))
    return Pair(*made, oracle.fuse)


def assert_same_gradients(pair: Pair) -> None:
    assert_same(gradients(pair.fast), pair.fused(gradients(pair.slow)))


def assert_same_state(pair: Pair) -> None:
    expected = pair.fused({})
    assert set(pair.fast.state_dict()) == set(expected)
    assert_same(pair.fast.state_dict(), expected)


def backward(net: nn.Module, x: Tensor) -> Tensor:
    logits = net(x)
    F.cross_entropy(logits, labels(len(x)).to(x.device)).backward()
    return logits.detach()


def check(pair: Pair, x: Tensor) -> None:
    """Compare logits, gradients and running statistics, in training and in evaluation."""
    for training in (True, False):
        for net in pair:
            net.train(training)
            net.zero_grad()
        torch.testing.assert_close(backward(pair.fast, x), backward(pair.slow, x), **EXACT)
        assert_same_gradients(pair)
        for seed in (5, 6):
            for net in pair:
                net(images(*x.shape, seed=seed).to(x.device))
        assert_same_state(pair)
