"""Training state: what a checkpoint saves and restores, and checks of saved weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeAlias, TypedDict, get_type_hints, runtime_checkable

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer

from darts.data import Loader
from darts.training.checkpoint import StateDict
from darts.training.steps import EpochMeans
from darts.typed_values import Count, Misfit, entry, typed

_LearningRate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e308)]


@runtime_checkable
class Stateful(Protocol):
    """An object that returns and restores its own state dict."""

    def state_dict(self) -> object:
        """Return tensors and plain values."""

    def load_state_dict(self, state: Any) -> object:
        """Restore what ``state_dict`` returned; ValueError or RuntimeError if it does not fit."""


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
    # Of the first step of the run, mean over all ranks; or before the classifier was fitted.
    first_loss: float | None = None
    restarts: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0  # so far, after divergences
    means: EpochMeans = field(default_factory=EpochMeans)  # training metrics, this epoch
    scores: dict[str, float] = field(default_factory=dict)  # validation, last completed epoch

    @property
    def global_step(self) -> int:
        """Completed steps of the whole run."""
        return self.epoch * len(self.train_loader) + self.step

    def state_dict(self) -> StateDict:
        """Return one entry per field, as tensors and plain values."""
        return {
            name: value.state_dict() if isinstance(value, Stateful) else _plain(value)
            for name, value in self._fields().items()
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore every field from a state dict; ignore its other entries.

        Raises ``Misfit`` if an entry is missing or has another type.
        """
        self.load_fields(state, *self._fields())

    def load_fields(self, state: Mapping[str, object], *names: str) -> None:
        """Restore the named fields from a state dict."""
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


class _SavedOptimizer(TypedDict):
    state: dict[int, dict[str, object]]  # by number of the parameter
    param_groups: list[dict[str, object]]


def load_optimizer(optimizer: Optimizer, saved: object, name: str) -> None:
    """Restore the buffers and learning rates of an optimizer; it keeps its other options.

    Buffers get the memory format of their parameters, as in a run that was not interrupted.
    """
    state = typed(_SavedOptimizer, saved, name)
    groups = optimizer.state_dict()["param_groups"]
    for group, saved_group in zip(groups, state["param_groups"], strict=True):
        # Another version of PyTorch may have more or fewer options.
        if not (group.keys() <= saved_group.keys() or group.keys() >= saved_group.keys()):
            raise Misfit(f"{name} is the state of an optimizer of another kind")
        group["lr"] = entry(saved_group, "lr", _LearningRate)
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    for parameter, buffers in optimizer.state.items():
        for key, value in buffers.items():
            if isinstance(value, Tensor) and value.ndim:
                if value.shape != parameter.shape:
                    raise Misfit(f"{name}: the shape of a buffer {key} differs from its weight")
                buffers[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def require_finite_weights(weights: Mapping[str, Tensor], name: str) -> None:
    """Raise ``Misfit`` if weights contain infinity or NaN; ``name`` is for the message."""
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Misfit(f"{name}: the weights are not finite, in {key}")


def require_fitting_network(
    build: Callable[[], nn.Module], saved: Mapping[str, Tensor], name: str
) -> None:
    """Raise ``Misfit`` if weights do not fit a network, without allocating memory for the network.

    The sizes of the network may come from a file, so ``build`` may raise any error.
    """
    limit, count = 10 * len(saved) + 1000, 0

    def count_parameter(module: nn.Module, key: str, parameter: nn.Parameter) -> None:
        nonlocal count
        count += 1
        if count > limit:
            raise Misfit(f"{name} has {len(saved)} tensors; the network has more than {limit}")

    hook = register_module_parameter_registration_hook(count_parameter)
    try:
        with torch.device("meta"):
            built = build().state_dict()
    finally:
        hook.remove()
    expected, actual = (
        {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in weights.items()}
        for weights in (built, saved)
    )
    for key in {**expected, **actual}:
        if expected.get(key) != actual.get(key):
            raise Misfit(f"{name}: the weights do not fit the network, in {key[:100]}")
