"""The state of a training run, saved in checkpoints and restored from them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_loader import FakeLoader
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from darts.data import InputSpec
from darts.training.checkpoint import (
    CheckpointError,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.state import TrainState, load_optimizer, require_fitting_network
from darts.typed_values import Misfit


@dataclass(kw_only=True)
class ExampleState(TrainState):
    net: nn.Module
    history: list[int] = field(default_factory=list)
    best: dict[str, Any] | None = None
    specs: list[InputSpec] = field(default_factory=list)
    threshold: Tensor | None = None


def make_state(delivered: int = 0) -> ExampleState:
    loader: Any = FakeLoader(5, delivered)
    return ExampleState(train_loader=loader, net=nn.Linear(2, 1))


def test_stateful_fields_are_restored_in_place_and_others_replaced(tmp_path: Path) -> None:
    saved = make_state(delivered=7)
    saved.epoch, saved.step, saved.scores = 3, 2, {"accuracy": 0.5}
    saved.history, saved.best, saved.threshold = [1, 2], {"epoch": 2}, torch.tensor(0.25)
    saved.means.add(4, train_loss=2.0)
    saved.specs = [InputSpec("samples", (2, 3), {0: "batch"}, mean=(0.5,), std=(1.0,))]
    save_checkpoint(tmp_path / "checkpoint.safetensors", "search", saved.state_dict())

    restored = make_state()
    objects = restored.train_loader, restored.net
    restored.load_state_dict(load_checkpoint(tmp_path / "checkpoint.safetensors"))
    assert (restored.train_loader, restored.net) == objects
    loader: Any = restored.train_loader
    assert loader.delivered == 7
    torch.testing.assert_close(restored.net.state_dict(), saved.net.state_dict(), rtol=0, atol=0)
    assert restored.means.compute() == {"train_loss": 2.0}
    assert (restored.epoch, restored.step, restored.scores) == (3, 2, {"accuracy": 0.5})
    assert (restored.history, restored.best) == ([1, 2], {"epoch": 2})
    assert restored.specs == saved.specs
    assert restored.threshold.equal(torch.tensor(0.25))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epoch", -1, "epoch: Expected int >= 0"),
        ("epoch", 2.0, "epoch: Expected int, got float"),
        ("scores", {"accuracy": "0.5"}, r"scores\[...\]: Expected float, got str"),
        ("means", {"sums": [1.0]}, "means.sums: Expected object"),
        ("history", [1, None], r"history\[1\]: Expected int, got null"),
        ("specs", [{"name": "samples"}], r"specs\[0\]: Object missing required field shape"),
        ("threshold", 0.5, "threshold: Expected Tensor"),
        ("net", {}, "Missing key"),
        ("net", {"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, "size mismatch for weight"),
        ("net", 7, "dict-like"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(name: str, value: Any, message: str) -> None:
    state = make_state()
    with pytest.raises(CheckpointError, match=message), checkpoint_errors(Path("file")):
        make_state().load_state_dict(state.state_dict() | {name: value})


def test_a_missing_entry_is_named() -> None:
    complete = make_state().state_dict()
    for name in complete:
        partial = {key: value for key, value in complete.items() if key != name}
        with pytest.raises(Misfit, match=f"^{name} is missing$"):
            make_state().load_state_dict(partial)


sgd = partial(SGD, lr=0.1, momentum=0.9)
plain_sgd = partial(SGD, lr=0.1)
adamw = partial(AdamW, lr=0.1)


def trained(make: Callable[[Any], Optimizer]) -> tuple[nn.Module, Optimizer]:
    """Return a network in the memory format of a training run, and its optimizer after a step."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 4, 1))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make(net.parameters())
    step(net, optimizer)
    return net, optimizer


def step(net: nn.Module, optimizer: Optimizer) -> None:
    net(torch.linspace(-1, 1, 96).view(2, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def strides(optimizer: Optimizer) -> list[tuple[int, ...]]:
    return [
        value.stride()
        for buffers in optimizer.state.values()
        for value in buffers.values()
        if isinstance(value, torch.Tensor)
    ]


@pytest.mark.parametrize("make", [sgd, plain_sgd, adamw])
def test_a_restored_optimizer_continues_exactly(
    tmp_path: Path, make: Callable[[Any], Optimizer]
) -> None:
    net, optimizer = trained(make)
    optimizer.param_groups[0]["lr"] = 0.05
    other = copy.deepcopy(net)
    restored = make(other.parameters())
    save_checkpoint(tmp_path / "file", "search", {"optimizer": optimizer.state_dict()})
    load_optimizer(restored, load_checkpoint(tmp_path / "file")["optimizer"], "optimizer")
    assert restored.param_groups[0]["lr"] == 0.05
    assert strides(restored) == strides(optimizer)
    step(net, optimizer)
    step(other, restored)
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


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda s: s["state"][0].update(exp_avg=torch.zeros(2)), "the shape of a buffer exp_avg"),
        (lambda s: s["state"].update(x={}), "key in optimizer.state: Expected int"),
        (lambda s: s.update(param_groups=s["param_groups"] * 2), "zip"),
        (lambda s: s["param_groups"][0].pop("lr"), "lr is missing"),
        (lambda s: s.update(SGD([torch.zeros(1)], lr=1.0).state_dict()), "of another kind"),
    ],
)
def test_an_optimizer_state_that_does_not_fit_is_refused(
    alter: Callable[[Any], Any], message: str
) -> None:
    _, optimizer = trained(adamw)
    state = copy.deepcopy(optimizer.state_dict())
    alter(state)
    with pytest.raises(ValueError, match=message):
        load_optimizer(trained(adamw)[1], state, "optimizer")


@pytest.mark.parametrize(
    ("saved", "key"),
    [
        ({"weight": torch.zeros(4, 2), "bias": torch.zeros(4)}, "weight"),
        ({}, "weight"),
        ({"weight": torch.zeros(4, 2).double()}, "weight"),
    ],
)
def test_a_large_network_is_refused_without_being_allocated(saved: Any, key: str) -> None:
    with pytest.raises(Misfit, match=f"net: the weights do not fit the network, in {key}"):
        require_fitting_network(lambda: nn.Linear(10**9, 10**6), saved, "net")


def test_a_deep_network_is_refused_while_it_is_built() -> None:
    built = []

    def endless() -> nn.Module:
        while True:
            built.append(nn.Linear(4, 2))

    with pytest.raises(Misfit, match="net has 2 tensors; the network has more than 1020"):
        require_fitting_network(endless, nn.Linear(4, 2).state_dict(), "net")
    assert len(built) == 510
    require_fitting_network(lambda: nn.Linear(4, 2), nn.Linear(4, 2).state_dict(), "net")
