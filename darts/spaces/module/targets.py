"""The models that this process may build for the space ``module``.

A run directory names its model, but it may be untrusted, and importing a module runs its code. So
a model is only built if this process has registered it. ``darts.search(model)`` does that, and so
does ``space.target=package.module:Class`` on the command line.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import re
from collections.abc import Callable, Mapping

import torch
from torch import nn

from darts.spaces.module.layout import Row, rows_of

Factory = Callable[[Mapping[str, int]], nn.Module]

_FACTORIES: dict[str, Factory] = {}
_ROWS: dict[str, list[Row]] = {}  # by target, of models that were built
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.<>]*")


def register(model: nn.Module) -> str:
    """Register a model; return its target. Each network begins as a copy of the model."""
    original = copy.deepcopy(model)
    target = f"{type(model).__module__}:{type(model).__qualname__}"
    _FACTORIES[target] = lambda sizes: copy.deepcopy(original)
    _ROWS.pop(target, None)
    return target


def allow_import(target: str) -> None:
    """Register a class by its place; it is imported when the first model is built.

    A model of this name that is registered already stays.

    Raises:
        ValueError: If the target is no place of a class.
    """
    if not _TARGET.fullmatch(target):
        raise ValueError(f"space.target={target!r}: must be package.module:Class")
    _FACTORIES.setdefault(target, lambda sizes: _construct(target, sizes))


def build(target: str, sizes: Mapping[str, int]) -> nn.Module:
    """Return a new model.

    Args:
        target: A registered target.
        sizes: Sizes of the data, such as ``classes``; a class gets those that it takes.

    Raises:
        ValueError: If the target is not registered, or the class cannot be imported or called.
    """
    if not target:
        raise ValueError(
            "space=module searches a model of your own: set space.target=package.module:Class, or "
            "call darts.search(model)"
        )
    if target not in _FACTORIES:
        raise ValueError(
            f"space.target={target!r} is not registered in this process: a run directory cannot "
            "start code. Pass the model to the Python function, or give "
            f"space.target={target} on the command line"
        )
    return _FACTORIES[target](sizes)


def rows(target: str) -> list[Row]:
    """Return the choices of a registered model; the state of random generators stays as it is.

    Raises:
        ValueError: As ``build``, and if the model contains no choices.
    """
    if target not in _ROWS:
        with torch.random.fork_rng(devices=[]):
            # The choices do not depend on the sizes of the data.
            _ROWS[target] = rows_of(build(target, {"classes": 2, "in_channels": 1}))
    return _ROWS[target]


def _construct(target: str, sizes: Mapping[str, int]) -> nn.Module:
    """Import a class and call it with the sizes that it takes."""
    place, _, name = target.partition(":")
    try:
        value: object = importlib.import_module(place)
        for part in name.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"space.target={target!r}: {error}") from None
    if not callable(value):
        raise ValueError(f"space.target={target!r} is no class")
    parameters = inspect.signature(value).parameters
    taken = {key: size for key, size in sizes.items() if key in parameters}
    missing = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name not in taken
    ]
    if missing:
        raise ValueError(
            f"space.target={target!r} needs {', '.join(missing)}; only {', '.join(sizes)} are known"
        )
    model = value(**taken)
    if not isinstance(model, nn.Module):
        raise ValueError(f"space.target={target!r} returns no torch.nn.Module")
    return model
