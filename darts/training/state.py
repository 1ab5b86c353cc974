"""State of a training: everything that a checkpoint saves and restores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from darts.data import Loader
from darts.training.checkpoint import StateDict
from darts.training.steps import EpochMeans


@runtime_checkable
class Stateful(Protocol):
    """An object that restores itself from its own state dict."""

    def state_dict(self) -> StateDict:
        """Return tensors and plain values."""

    def load_state_dict(self, state: StateDict) -> object:
        """Restore what ``state_dict`` returned."""


@dataclass(kw_only=True)
class TrainState:
    """Fields of a checkpoint that search and retrain share.

    A command extends this class. Each field is either ``Stateful`` and restored in place, or a
    plain value or tensor and replaced.
    """

    train_loader: Loader  # batches of the weights
    epoch: int = 0  # completed epochs
    step: int = 0  # completed steps of the epoch that follows them
    means: EpochMeans = field(default_factory=EpochMeans)  # of the training metrics in that epoch
    scores: dict[str, float] = field(default_factory=dict)  # validation, last completed epoch

    def state_dict(self) -> StateDict:
        """Return one entry per field."""
        return {
            name: value.state_dict() if isinstance(value, Stateful) else value
            for name, value in self._fields().items()
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore every field from ``state_dict``."""
        for name, value in self._fields().items():
            if isinstance(value, Stateful):
                value.load_state_dict(state[name])
            else:
                setattr(self, name, state[name])

    def _fields(self) -> dict[str, object]:
        return {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
