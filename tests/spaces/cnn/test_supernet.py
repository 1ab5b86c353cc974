"""Values, gradients and statistics of the fast supernet against the edge-wise one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cnn_supernets import REPEATABLE, Pair, assert_same_gradients, assert_same_state, make_pair
from oracles.comparing import EXACT, assert_same, gradients, images, labels
from torch import Tensor, nn

from darts.spaces.cnn import PRIMITIVES, EdgewiseSupernet, Supernet, fuse_state_dict

Weights = dict[str, Tensor]
EVERYTHING = REPEATABLE
ALONE = [(name,) for name in REPEATABLE]


def ids(value: Any) -> str | None:
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return "+".join(value) if len(value) < 3 else f"{len(value)} operations"
    return "x".join(map(str, value)) if isinstance(value, tuple) else None


def backward(net: nn.Module, x: Tensor, weights: Weights | None = None) -> Tensor:
    """Compute the gradients of the loss and return the logits."""
    logits = net(x) if weights is None else net(x, weights)
    F.cross_entropy(logits, labels(len(x))).backward()
    return logits.detach()


def check(pair: Pair, x: Tensor, weights: Weights | None = None) -> None:
    """Compare logits, gradients and running statistics, in training and in evaluation."""
    torch.testing.assert_close(
        backward(pair.fast, x, weights), backward(pair.slow, x, weights), **EXACT
    )
    assert_same_gradients(pair)
    for seed in (5, 6):
        for net in pair:
            net(images(*x.shape, seed=seed))
    assert_same_state(pair)
    for net in pair:
        net.eval()
        net.zero_grad()
    torch.testing.assert_close(
        backward(pair.fast, x, weights), backward(pair.slow, x, weights), **EXACT
    )
    assert_same_gradients(pair)


@pytest.mark.parametrize("size", [(9, 11), pytest.param((8, 8), marks=pytest.mark.slow)], ids=ids)
@pytest.mark.parametrize(
    "operations",
    [
        *(pytest.param(alone, marks=pytest.mark.slow) for alone in ALONE[2::2]),
        *ALONE[1::2],
        pytest.param(PRIMITIVES, marks=pytest.mark.slow),
        EVERYTHING,
    ],
    ids=ids,
)
def test_operations_at_even_and_odd_sizes(
    operations: tuple[str, ...], size: tuple[int, int]
) -> None:
    check(make_pair(operations=operations), images(3, 3, *size))


@pytest.mark.parametrize(
    "size", [(11, 14), pytest.param((17, 12), marks=pytest.mark.slow)], ids=ids
)
@pytest.mark.parametrize(
    "options",
    [
        {"nodes": 4, "cells": 3, "channels": 2},
        {"nodes": 1},
        pytest.param({"stem": "imagenet"}, marks=pytest.mark.slow),
        {"stem": "imagenet", "channels": 4, "cells": 1, "nodes": 3},
        pytest.param({"in_channels": 1, "channels": 1}, marks=pytest.mark.slow),
        {"in_channels": 2, "channels": 5, "cells": 2},
    ],
    ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()),
)
def test_both_supernets_agree_for_options(options: dict[str, Any], size: tuple[int, int]) -> None:
    check(make_pair(**options), images(3, options.get("in_channels", 3), *size))


def test_feature_maps_of_one_pixel() -> None:
    # The imagenet stem reduces 8 pixels to 1, so most pixels of every window are padding.
    check(make_pair(stem="imagenet", operations=EVERYTHING), images(5, 3, 8, 8))


def test_supernet_of_none_outputs_the_bias() -> None:
    for net in make_pair(operations=("none",)):
        logits = backward(net, images(3, 3, 9, 8))
        torch.testing.assert_close(logits, net.classifier.bias.detach().expand(3, -1))
        assert not any(gradients(net)[f"alphas.{kind}"].any() for kind in net.alphas)


@pytest.mark.parametrize("options", [{}, {"operations": EVERYTHING, "stem": "imagenet"}])
def test_equal_seeds_give_equal_networks(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    fast = Supernet(cells=3, channels=2, **options)
    after = torch.rand(())
    torch.manual_seed(0)
    slow = EdgewiseSupernet(cells=3, channels=2, **options)
    assert torch.equal(torch.rand(()), after)  # the random state is also the same
    expected = fuse_state_dict(slow.state_dict())
    assert set(fast.state_dict()) == set(expected)
    for name, value in fast.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_gradients_do_not_depend_on_which_parameters_require_them() -> None:
    x = images(3, 3, 9, 8)
    both = make_pair().fast
    backward(both, x)
    wanted = gradients(both)
    for trained in ("alphas", "weights"):
        net = make_pair().fast
        expected = {}
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name.startswith("alphas.") == (trained == "alphas"))
            if parameter.requires_grad:
                expected[name] = wanted[name]
        backward(net, x)
        assert_same(expected, gradients(net))
        assert all(p.grad is None for p in net.parameters() if not p.requires_grad)
