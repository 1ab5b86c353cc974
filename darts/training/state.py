"""Training state: what a checkpoint saves and restores of the objects of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol, cast, get_type_hints, runtime_checkable

import torch
from torch import nn

from darts.data import Loader
from darts.training.checkpoint import StateDict
from darts.training.restoring import load_module, load_optimizer, load_scaler
from darts.training.steps import EpochMeans
from darts.typed_values import Count, Misfit, Within, entry, typed


@runtime_checkable
class Stateful(Protocol):
    """An object that returns and restores its own state dict."""

    def state_dict(self) -> StateDict:
        """Return tensors and plain values."""

    def load_state_dict(self, state: StateDict) -> object:
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
    restarts: Annotated[int, Within(0, 10)] = 0  # so far, after divergences
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
            Misfit: If an entry is missing, has another type or does not fit this object.
            ValueError: If the state of a ``Stateful`` field does not fit.
        """
        self.load_fields(state, *self._fields())
        self.check()

    def load_fields(self, state: Mapping[str, object], *names: str) -> None:
        """Restore the named fields from a state dict, without checking that fields fit together.

        Raises:
            Misfit, ValueError: As ``load_state_dict``.
        """
        hints = get_type_hints(type(self), include_extras=True)
        for name in names:
            value = getattr(self, name)
            saved = entry(state, name, object)
            if isinstance(value, nn.Module):
                load_module(value, saved, name)
            elif isinstance(value, torch.optim.Optimizer):
                load_optimizer(value, saved, name)
            elif isinstance(value, torch.amp.GradScaler):
                load_scaler(value, saved, name)
            elif isinstance(value, Stateful):
                value.load_state_dict(cast("StateDict", saved))
            else:
                setattr(self, name, typed(hints[name], saved, name))

    @classmethod
    def entries(cls, state: Mapping[str, object], *names: str) -> StateDict:
        """Return the named plain entries of a state dict, checked against the types of the fields.

        Raises:
            Misfit: If an entry is missing, or has another type.
        """
        hints = get_type_hints(cls, include_extras=True)
        return {name: entry(state, name, hints[name]) for name in names}

    def check(self) -> None:
        """Refuse restored values that contradict each other; subclasses add checks.

        Raises:
            Misfit: With the first contradiction.
        """
        steps = len(self.train_loader)
        if self.step > steps:
            raise Misfit(f"step is {self.step}; an epoch has {steps} steps")
        if (self.step > 0) != (self.means.samples > 0):
            raise Misfit(f"means holds {self.means.samples} samples of {self.step} steps")
        if self.step > 0 and "train_loss" not in self.means.sums:
            raise Misfit("means.sums.train_loss is missing")

    def _fields(self) -> dict[str, object]:
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}


def _plain(value: object) -> object:
    """Return a field as plain values; dataclasses, also in a list, as dictionaries."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
        return [dataclasses.asdict(item) for item in value]
    return value
