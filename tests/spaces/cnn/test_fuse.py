"""Conversion of state dicts between the two supernets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import images, labels
from oracles.supernet_pairs import REPEATABLE, make_pair
from torch import Tensor, nn

from darts.spaces.cnn import fuse_state_dict, unfuse_state_dict


def train(net: nn.Module) -> None:
    """Take two steps, so that all statistics and weights differ."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for seed in (1, 2):
        optimizer.zero_grad()
        x = images(3, 3, 9, 8, seed=seed)
        F.cross_entropy(net(x), labels(3, seed)).backward()
        optimizer.step()


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, value in actual.items():
        assert value.dtype == expected[name].dtype
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    "options",
    [
        {"cells": 2, "nodes": 3},  # reduction cells only
        {"cells": 1, "nodes": 1},
        {"operations": REPEATABLE, "channels": 5},
        {"operations": ("skip_connect", "none")},  # weights in reduction cells only
        {"operations": ("none",)},
        pytest.param({"stem": "imagenet", "cells": 8}, marks=pytest.mark.slow),
    ],
)
def test_fuse_and_unfuse_are_inverse(options: dict[str, Any]) -> None:
    slow, fast = make_pair(**options)
    train(slow)
    train(fast)
    state = slow.state_dict()
    assert_equal(unfuse_state_dict(fuse_state_dict(state)), state)
    state = fast.state_dict()
    assert_equal(fuse_state_dict(unfuse_state_dict(state)), state)


@pytest.mark.parametrize("way", ["fuse", "unfuse"])
def test_conversion_copies_tensors(way: str) -> None:
    slow, fast = make_pair()
    source = (slow if way == "fuse" else fast).state_dict()
    kept = {name: value.clone() for name, value in source.items()}
    for value in (fuse_state_dict if way == "fuse" else unfuse_state_dict)(source).values():
        value.add_(1)
    assert_equal(dict(source), kept)


def test_state_dicts_of_the_wrong_supernet_are_rejected() -> None:
    slow, fast = make_pair()
    with pytest.raises(ValueError, match=r"^this is not the state dict of an EdgewiseSupernet$"):
        fuse_state_dict(fast.state_dict())
    with pytest.raises(ValueError, match=r"^this is not the state dict of a Supernet$"):
        unfuse_state_dict(slow.state_dict())
