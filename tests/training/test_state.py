"""The state of a training is saved and restored field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darts.training.checkpoint import load_checkpoint, save_checkpoint
from darts.training.state import Stateful, TrainState


class FakeLoader:
    """A loader with a position."""

    def __init__(self, position: int = 0) -> None:
        self.position = position

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


@dataclass(kw_only=True)
class ExampleState(TrainState):
    """A state with stateful objects, a tensor and plain values."""

    net: nn.Module
    history: list[int] = field(default_factory=list)
    best: dict[str, Any] | None = None
    threshold: Tensor | None = None


def make_state(position: int = 0) -> ExampleState:
    loader: Any = FakeLoader(position)
    return ExampleState(train_loader=loader, net=nn.Linear(2, 1))


def test_stateful_fields_are_restored_in_place_and_others_replaced(tmp_path: Path) -> None:
    saved = make_state(position=7)
    saved.epoch, saved.step, saved.scores = 3, 2, {"accuracy": 0.5}
    saved.history, saved.best, saved.threshold = [1, 2], {"epoch": 2}, torch.tensor(0.25)
    saved.means.add(4, train_loss=2.0)
    save_checkpoint(tmp_path / "checkpoint.pt", "search", saved.state_dict())

    restored = make_state()
    objects = restored.train_loader, restored.net, restored.means
    restored.load_state_dict(load_checkpoint(tmp_path / "checkpoint.pt"))
    assert (restored.train_loader, restored.net, restored.means) == objects
    loader: Any = restored.train_loader
    assert loader.position == 7
    assert all(
        value.equal(restored.net.state_dict()[name])
        for name, value in saved.net.state_dict().items()
    )
    assert restored.means.compute() == {"train_loss": 2.0}
    assert (restored.epoch, restored.step, restored.scores) == (3, 2, {"accuracy": 0.5})
    assert (restored.history, restored.best) == ([1, 2], {"epoch": 2})
    assert restored.threshold is not None
    assert restored.threshold.equal(torch.tensor(0.25))


def test_the_state_dict_has_one_entry_per_field() -> None:
    state = make_state(position=1).state_dict()
    assert list(state) == [
        "train_loader",
        "epoch",
        "step",
        "means",
        "scores",
        "net",
        "history",
        "best",
        "threshold",
    ]
    assert state["train_loader"] == {"position": 1}
    assert (state["epoch"], state["best"]) == (0, None)


def test_stateful_objects_have_both_methods() -> None:
    assert isinstance(nn.Linear(1, 1), Stateful)
    assert isinstance(FakeLoader(), Stateful)
    assert not isinstance({"position": 1}, Stateful)
