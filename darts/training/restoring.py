"""Restore optimizers from saved states, and check that weights fit a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, TypeAlias, TypedDict

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer

from darts.typed_values import Misfit, entry, typed

_LearningRate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e308)]


class _SavedOptimizer(TypedDict):
    state: dict[int, dict[str, object]]  # by number of the parameter
    param_groups: list[dict[str, object]]


def load_optimizer(optimizer: Optimizer, saved: object, name: str) -> None:
    """Restore the buffers and learning rates of an optimizer; it keeps its other options.

    Buffers get the memory format of their parameters, as in a run that was not interrupted.

    Raises:
        Misfit: If the state does not fit the optimizer, or the shapes of its parameters.
        ValueError: If the optimizer has other parameter groups.
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
    """Raise ``Misfit`` if weights contain infinity or NaN.

    Args:
        weights: Tensors by name.
        name: Name of the weights for the message.
    """
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Misfit(f"{name}: the weights are not finite, in {key}")


def require_fitting_network(
    build: Callable[[], nn.Module], saved: Mapping[str, Tensor], name: str
) -> None:
    """Raise ``Misfit`` if weights do not fit a network, without allocating memory for the network.

    Args:
        build: Returns the network. Sizes that come from a file may make it raise any error.
        saved: Tensors by name, as in the state dict of the network.
        name: Name of the weights for the message.
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
