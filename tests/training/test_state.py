"""The training state is saved and restored field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_loader import FakeLoader
from torch import Tensor, nn

from darts.data import InputSpec
from darts.training.checkpoint import (
    CheckpointError,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.state import TrainState
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
