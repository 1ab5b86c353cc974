"""Training state: what a checkpoint saves and restores of the objects of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, get_type_hints, runtime_checkable

import msgspec
from torch.optim import Optimizer

from darts.data import Loader
from darts.training.checkpoint import StateDict
from darts.training.restoring import load_optimizer
from darts.training.steps import EpochMeans
from darts.typed_values import Count, entry


@runtime_checkable
class Stateful(Protocol):
    """An object that returns and restores its own state dict."""

    def state_dict(self) -> StateDict:
        """Return tensors and plain values."""

    def load_state_dict(self, state: Any) -> object:
        """Restore what ``state_dict`` returned.

        Raises:
            ValueError: If the state does not fit.
        """


@dataclass(kw_only=True)
class TrainState:
    """Fields of a checkpoint that search and retraining share.

    Each of the two commands has a subclass. A field that is ``Stateful`` is restored in place; any
    other field is a plain value or a tensor, and is replaced. The types of the fields are the
    schema of a checkpoint.
    """

    train_loader: Loader  # batches that train the weights
    epoch: Count = 0  # completed epochs
    step: Count = 0  # completed steps of the current epoch
    first_loss: float | None = None  # of the first step of the run, mean over all ranks
    restarts: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0  # so far, after divergences
    means: EpochMeans = field(default_factory=EpochMeans)  # training metrics, this epoch
    scores: dict[str, float] = field(default_factory=dict)  # validation, last completed epoch

    def state_dict(self) -> StateDict:
        """Return one entry per field, as tensors and plain values."""
        return {
            name: value.state_dict() if isinstance(value, Stateful) else _plain(value)
            for name, value in self._fields().items()
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore every field from a state dict; ignore its other entries.

        Raises:
            Misfit: If an entry is missing or has another type.
            ValueError, RuntimeError: If the state of a ``Stateful`` field does not fit.
        """
        self.load_fields(state, *self._fields())

    def load_fields(self, state: Mapping[str, object], *names: str) -> None:
        """Restore the named fields from a state dict.

        Raises:
            Misfit, ValueError, RuntimeError: As ``load_state_dict``.
        """
        hints = get_type_hints(type(self), include_extras=True)
        for name in names:
            value = getattr(self, name)
            if isinstance(value, Optimizer):
                load_optimizer(value, entry(state, name, object), name)
            elif isinstance(value, Stateful):
                value.load_state_dict(entry(state, name, object))
            else:
                setattr(self, name, entry(state, name, hints[name]))

    def _fields(self) -> dict[str, object]:
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}


def _plain(value: object) -> object:
    """Return a field as plain values; dataclasses, also in a list, as dictionaries."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
        return [dataclasses.asdict(item) for item in value]
    return value
