"""Restore PyTorch objects from saved states that may not fit.

PyTorch accepts optimizer states of any shape and converts types silently, so a damaged checkpoint
would cause an error much later, or wrong results. These functions first compare the saved state
with the object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer

from darts.typed_values import Misfit, Within, entry, shown, typed

_State: TypeAlias = dict[str, Any]

IMPLEMENTATION = {"capturable", "foreach", "fused"}
"""Options that decide how an optimizer computes its step; they depend on the device."""

LearningRate: TypeAlias = Annotated[float, Within(0, 1e308)]
"""A learning rate that is finite and not negative."""


def require_finite_weights(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that contain infinity or NaN.

    Args:
        weights: Tensors by name.
        name: Name of the weights for the message.

    Raises:
        Misfit: With the name of the first such tensor.
    """
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Misfit(f"{name}: the weights are not finite, in {key}")


def require_same_layout(saved: object, expected: Mapping[str, Tensor], name: str) -> None:
    """Refuse tensors whose names, shapes or dtypes differ from the expected ones.

    Args:
        saved: Tensors by name.
        expected: Tensors by name; only their shapes and dtypes matter.
        name: Name of the weights for the message.

    Raises:
        Misfit: With the name of the first tensor that differs.
    """
    weights = typed(dict[str, Tensor], saved, name)
    for key in expected.keys() - weights.keys():
        raise Misfit(f"{name}.{key} is missing")
    for key, tensor in weights.items():
        if key not in expected:
            raise Misfit(f"{name} has the unknown entry {key[:60]!r}")
        like = expected[key]
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise Misfit(
                f"{name}.{key} has shape {tuple(tensor.shape)} and type {tensor.dtype}, not "
                f"{tuple(like.shape)} and {like.dtype}"
            )


def require_fitting_network(
    build: Callable[[], nn.Module], saved: Mapping[str, Tensor], name: str
) -> None:
    """Refuse weights that do not fit a network, without allocating memory for the network.

    Args:
        build: Returns the network. Sizes that come from a file may make it raise any error.
        saved: Tensors by name, as in the state dict of the network.
        name: Name of the weights for the message.

    Raises:
        Misfit: If the network has tensors of other names, shapes or dtypes, or far more tensors.
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
            expected = build().state_dict()
    finally:
        hook.remove()
    require_same_layout(saved, expected, name)


def load_module(module: nn.Module, saved: object, name: str) -> None:
    """Restore the parameters and buffers of a module.

    Raises:
        Misfit: If the state does not fit the module, or is not finite.
    """
    weights = typed(dict[str, Tensor], saved, name)
    require_same_layout(weights, module.state_dict(), name)
    require_finite_weights(weights, name)
    module.load_state_dict(weights)


def load_optimizer(optimizer: Optimizer, saved: object, name: str) -> None:
    """Restore an optimizer.

    Its options must equal the saved ones, except for learning rates and ``IMPLEMENTATION``.

    Raises:
        Misfit: If the state does not fit the optimizer, or the shapes of its parameters.
    """
    state = typed(_State, saved, name)
    if state.keys() != {"state", "param_groups"}:
        raise Misfit(f"{name} is not the state of an optimizer")
    saved_groups = typed(list[_State], state["param_groups"], f"{name}.param_groups")
    own_groups = optimizer.state_dict()["param_groups"]
    if len(saved_groups) != len(own_groups):
        raise Misfit(f"{name} has {len(saved_groups)} parameter groups, not {len(own_groups)}")
    groups = [_merge_group(*pair, name) for pair in zip(saved_groups, own_groups, strict=True)]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    example = _example_state(optimizer)
    for index, values in typed(dict[int, object], state["state"], f"{name}.state").items():
        label = f"{name}.state.{index}"
        if not 0 <= index < len(parameters):
            raise Misfit(f"{label} belongs to no parameter")
        shape = parameters[index].shape
        require_same_layout(
            values,
            {key: like.expand(shape) if like.ndim else like for key, like in example.items()},
            label,
        )
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


def _merge_group(saved: _State, own: _State, name: str) -> _State:
    """Return a parameter group with the configured options and the saved learning rate."""
    # Compare only common options: another version of PyTorch may have more or fewer.
    for key in saved.keys() & own.keys() - {"lr"} - IMPLEMENTATION:
        if type(saved[key]) is not type(own[key]) or saved[key] != own[key]:
            raise Misfit(f"{name}.{key} is {shown(saved[key])}, not {shown(own[key])}")
    if "params" not in saved:
        raise Misfit(f"{name}.params is missing")
    return {**own, "lr": entry(saved, "lr", LearningRate)}


def _example_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return what this kind of optimizer stores for a parameter of shape ``(1,)``."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.zeros(1)
    options = {
        key: value
        for key, value in optimizer.param_groups[0].items()
        if key not in {"params"} | IMPLEMENTATION
    }
    kind: Callable[[list[_State]], Optimizer] = type(optimizer)
    probe = kind([{**options, "params": [parameter]}])
    probe.step()
    return dict(probe.state[parameter])


def load_scaler(scaler: torch.amp.GradScaler, saved: object, name: str) -> None:
    """Restore a loss scaler.

    Raises:
        Misfit: If the state is not that of an equally configured scaler.
    """
    state, own = typed(_State, saved, name), scaler.state_dict()
    if state.keys() != own.keys():
        raise Misfit(f"{name} is not the state of the configured loss scaler")
    for key, value in own.items():
        typed(type(value), state[key], f"{name}.{key}")
    scaler.load_state_dict(state)
