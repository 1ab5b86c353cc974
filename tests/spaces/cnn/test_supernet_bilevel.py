"""Gradients of the alphas of the fast supernet against those of the edge-wise one."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cnn_supernets import Pair, fused, make_pair, slow_except
from oracles.comparing import assert_same, images, labels
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from darts.methods.bilevel import first_order, unrolled
from darts.ops import dispatch
from darts.ops.dispatch import UNLIMITED, KernelPlan

Batch = tuple[Tensor, Tensor]
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "first_order": (first_order, {}),
    "finite_difference": (unrolled, {"hvp": "finite_difference"}),
    "exact": (unrolled, {"hvp": "exact"}),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "all operations": {"cells": 3},
    "a normal cell at the end": {"cells": 4, "channels": 2, "stem": "imagenet"},
    "others": {"cells": 3, "operations": ("skip_connect", "conv_7x1_1x7", "sep_conv_7x7", "none")},
}


def cross_entropy(net: Any, batch: Batch) -> Tensor:
    return F.cross_entropy(net(batch[0]), batch[1])


def batch(seed: int) -> Batch:
    return images(5, 3, 9, 8, seed=seed), labels(5, seed)


def trained(net: Any) -> Optimizer:
    """Take two training steps and return the optimizer."""
    optimizer = SGD(net.weight_parameters(), lr=0.05, momentum=0.9, weight_decay=3e-3)
    for seed in (11, 12):
        net.zero_grad()
        cross_entropy(net, batch(seed)).backward()
        optimizer.step()
    net.zero_grad()
    return optimizer


def make(**options: Any) -> tuple[Pair, list[Optimizer]]:
    """Return two networks and two optimizers in the same state."""
    pair = make_pair(**options)
    slow = trained(pair.slow)
    pair.fast.load_state_dict(fused(pair.slow, {}))
    fast = SGD(pair.fast.weight_parameters(), **slow.defaults)
    names = {parameter: name for name, parameter in pair.slow.named_parameters()}
    momenta = fused(
        pair.slow, {names[p]: state["momentum_buffer"] for p, state in slow.state.items()}
    )
    for name, parameter in pair.fast.named_parameters():
        if not name.startswith("alphas."):
            fast.state[parameter]["momentum_buffer"] = momenta[name].clone()
    return pair, [slow, fast]


def snapshot(net: nn.Module, optimizer: Optimizer) -> list[Any]:
    gradients = [parameter.grad for parameter in net.parameters()]
    return copy.deepcopy([net.state_dict(), optimizer.state_dict()["state"], gradients])


def flat(values: Any) -> list[Any]:
    if isinstance(values, dict):
        values = list(values.values())
    return (
        [leaf for value in values for leaf in flat(value)] if isinstance(values, list) else [values]
    )


EVERYDAY_CASES = [
    ("all operations", "first_order"),
    ("all operations", "finite_difference"),
    ("a normal cell at the end", "exact"),
]


@pytest.mark.parametrize(
    ("options", "method"), slow_except(itertools.product(OPTIONS, METHODS), EVERYDAY_CASES)
)
def test_gradients_of_the_alphas(options: str, method: str) -> None:
    pair, optimizers = make(**OPTIONS[options])
    compute, how = METHODS[method]
    actual = []
    for net, optimizer in zip(pair, optimizers, strict=True):
        before = flat(snapshot(net, optimizer))
        actual.append(compute(net, cross_entropy, batch(1), batch(2), optimizer, **how))
        after = flat(snapshot(net, optimizer))
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    slow, fast = actual
    assert set(slow) == set(fast) == {"normal", "reduce"}
    assert any(gradient.any() for gradient in fast.values())
    assert_same(fast, slow)


@pytest.mark.parametrize(
    "plan",
    [KernelPlan(10_000), pytest.param(KernelPlan(UNLIMITED, True), marks=pytest.mark.slow)],
    ids=str,
)
def test_exact_products_agree_for_every_kernel_plan(
    plan: KernelPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, (slow, fast) = make(cells=3)
    expected = unrolled(pair.slow, cross_entropy, batch(1), batch(2), slow, hvp="exact")
    for name in [name for name, value in vars(dispatch).items() if isinstance(value, KernelPlan)]:
        monkeypatch.setattr(dispatch, name, plan)
    actual = unrolled(pair.fast, cross_entropy, batch(1), batch(2), fast, hvp="exact")
    assert_same(actual, expected)


def test_second_derivatives_of_the_weights() -> None:
    pair = make_pair(cells=3)
    actual = []
    for net in pair:
        loss = cross_entropy(net, batch(1))
        parameters = dict(net.named_parameters())
        first = torch.autograd.grad(
            loss, list(parameters.values()), create_graph=True, allow_unused=True
        )
        length = sum(g.square().sum() for g in first if g is not None)
        second = torch.autograd.grad(
            length, list(parameters.values()), allow_unused=True, materialize_grads=True
        )
        actual.append(dict(zip(parameters, second, strict=True)))
    assert_same(actual[1], fused(pair.slow, actual[0]), rtol=1e-8, atol=1e-8)
