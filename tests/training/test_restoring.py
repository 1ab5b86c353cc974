"""Saved states of networks and optimizers are compared with the objects before they are used."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from darts.training.restoring import (
    load_module,
    load_optimizer,
    load_scaler,
    require_fitting_network,
)
from darts.typed_values import Misfit


def trained(make: Callable[[Any], Optimizer]) -> tuple[nn.Module, Optimizer]:
    """Return a network and its optimizer after one step."""
    net = nn.Linear(2, 3)
    optimizer = make(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return net, optimizer


def sgd(parameters: Any) -> Optimizer:
    return SGD(parameters, lr=0.1, momentum=0.9)


def plain_sgd(parameters: Any) -> Optimizer:
    return SGD(parameters, lr=0.1)


def adamw(parameters: Any) -> Optimizer:
    return AdamW(parameters, lr=0.1)


@pytest.mark.parametrize("make", [sgd, plain_sgd, adamw])
def test_a_restored_optimizer_continues_exactly(make: Callable[[Any], Optimizer]) -> None:
    net, optimizer = trained(make)
    optimizer.param_groups[0]["lr"] = 0.05
    other = copy.deepcopy(net)
    restored = make(other.parameters())
    load_optimizer(restored, copy.deepcopy(optimizer.state_dict()), "optimizer")
    assert restored.param_groups[0]["lr"] == 0.05
    for network, its_optimizer in ((net, optimizer), (other, restored)):
        network(torch.ones(1, 2)).square().sum().backward()
        its_optimizer.step()
        its_optimizer.zero_grad()
    assert all(a.equal(b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_how_a_step_is_computed_may_change() -> None:
    """A run on a GPU saves ``capturable``, and may resume on the CPU."""
    _, optimizer = trained(adamw)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0].update(capturable=True, foreach=True, fused=True)
    _, restored = trained(adamw)
    load_optimizer(restored, state, "optimizer")
    group = restored.param_groups[0]
    assert (group["capturable"], group["foreach"], group["fused"]) == (False, None, None)


ALTERATIONS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda s: s["state"][0].pop("exp_avg"), "state.0.exp_avg is missing"),
    (lambda s: s["state"][0].update(exp_avg=torch.zeros(2)), r"exp_avg has shape \(2,\)"),
    (lambda s: s["state"][0].update(exp_avg=None), "exp_avg is None"),
    (lambda s: s["state"][0].update(step=3), "step is 3; it must be a Tensor"),
    (lambda s: s["state"][0].update(more=torch.zeros(1)), "unknown entry 'more'"),
    (lambda s: s["state"].update({7: s["state"][0]}), "state.7 belongs to no parameter"),
    (lambda s: s["state"].update({-1: s["state"][0]}), "state.-1 belongs to no parameter"),
    (lambda s: s.update(state=[]), "state is a list"),
    (lambda s: s.update(param_groups=s["param_groups"] * 2), "has 2 parameter groups, not 1"),
    (lambda s: s["param_groups"][0].update(params=[0]), "optimizer.params is a list"),
    (lambda s: s["param_groups"][0].update(weight_decay=0.5), "weight_decay is 0.5, not 0.01"),
    (lambda s: s["param_groups"][0].update(lr=float("nan")), "lr is nan"),
    (lambda s: s["param_groups"][0].pop("lr"), "lr is missing"),
    (lambda s: s.pop("state"), "is not the state of an optimizer"),
]


@pytest.mark.parametrize(("alter", "message"), ALTERATIONS)
def test_an_optimizer_state_that_does_not_fit_is_refused(
    alter: Callable[[Any], Any], message: str
) -> None:
    _, optimizer = trained(adamw)
    state = copy.deepcopy(optimizer.state_dict())
    alter(state)
    with pytest.raises(Misfit, match=message):
        load_optimizer(trained(adamw)[1], state, "optimizer")


def test_a_module_is_unchanged_by_a_state_that_does_not_fit() -> None:
    net = nn.Linear(2, 3)
    before = copy.deepcopy(net.state_dict())
    wrong = {"weight": torch.zeros(3, 2), "bias": torch.full((3,), torch.inf)}
    with pytest.raises(Misfit, match="net: the weights are not finite, in bias"):
        load_module(net, wrong, "net")
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())


def test_a_large_network_is_refused_without_being_allocated() -> None:
    saved = nn.Linear(4, 2).state_dict()
    require_fitting_network(lambda: nn.Linear(4, 2), saved, "net")
    with pytest.raises(Misfit, match=r"net\.weight has shape"):
        require_fitting_network(lambda: nn.Linear(10**9, 10**6), saved, "net")


def test_a_deep_network_is_refused_while_it_is_built() -> None:
    built = []

    def endless() -> nn.Module:
        while True:
            built.append(nn.Linear(4, 2))

    with pytest.raises(Misfit, match="net has 2 tensors; the network has more than 1020"):
        require_fitting_network(endless, nn.Linear(4, 2).state_dict(), "net")
    assert len(built) == 510
    nn.Linear(4, 2)  # is not counted


def test_the_state_of_a_loss_scaler_must_fit() -> None:
    disabled = torch.amp.GradScaler("cpu", enabled=False)
    enabled = torch.amp.GradScaler("cpu", enabled=True)
    load_scaler(disabled, {}, "scaler")
    load_scaler(enabled, {**enabled.state_dict(), "scale": 8.0}, "scaler")
    assert enabled.get_scale() == 8.0
    with pytest.raises(Misfit, match="not the state of the configured loss scaler"):
        load_scaler(enabled, {}, "scaler")
    with pytest.raises(Misfit, match=r"scaler\.scale is None"):
        load_scaler(enabled, {**enabled.state_dict(), "scale": None}, "scaler")
