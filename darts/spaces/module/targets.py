"""The models that this process may build for the space ``module``.

A run directory names its model, but it may be untrusted, and importing a module runs its code. So
a model is only built if the user of this process gave it: to a Python function such as
``darts.search(model)``, or as ``space.target=package.module:Class`` on the command line. Processes
that this one starts inherit the permission as an environment variable.
"""

from __future__ import annotations

import copy
import inspect
import os
import pkgutil
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, cached_property

import torch
from torch import nn

from darts.spaces.module.costs import Conditions, conditions_of
from darts.spaces.module.genotype import rows_of

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_VARIABLE = "DARTS_ALLOWED_MODELS"  # targets on the command line, of this process or its parents


class PassedModel:
    """A model that was passed to a Python function. Each network begins as a copy of it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model)
        self.rows = rows_of(self.model)

    @cached_property
    def conditions(self) -> Conditions:
        """Which choices are inside of candidates of others."""
        return conditions_of(self.model)


_passed: ContextVar[PassedModel | None] = ContextVar("passed", default=None)


def target_of(model: nn.Module) -> str:
    """Return the place of a model's class, for the record of a run."""
    return f"{type(model).__module__}:{type(model).__qualname__}"


@contextmanager
def passed(model: nn.Module | None) -> Iterator[None]:
    """Build copies of a model in a block, whatever the target is; None changes nothing."""
    token = _passed.set(_passed.get() if model is None else PassedModel(model))
    try:
        yield
    finally:
        _passed.reset(token)


def is_passed() -> bool:
    """Return whether this is a block of ``passed``."""
    return _passed.get() is not None


def allow_import(target: str) -> None:
    """Allow a class by its place; it is imported when the first model is built."""
    if not _TARGET.fullmatch(target):
        raise ValueError(f"space.target={target!r}: must be package.module:Class")
    os.environ[_VARIABLE] = ",".join(dict.fromkeys([*_allowed(), target]))


def _allowed() -> list[str]:
    """Return the classes that the user of this process, or of one that started it, has named."""
    return [target for target in os.environ.get(_VARIABLE, "").split(",") if target]


def build(target: str, sizes: Mapping[str, int]) -> nn.Module:
    """Return a new model; of the ``sizes`` of the data, its class gets the ones that it takes."""
    given = _passed.get()
    if given is not None:
        return copy.deepcopy(given.model)
    if not target:
        raise ValueError(
            "space=module searches a model of your own: set space.target=package.module:Class, or "
            "call darts.search(model)"
        )
    if target not in _allowed():
        raise ValueError(
            f"space.target={target!r}: a run directory cannot start code. Pass the model to the "
            "Python function, or give space.target=package.module:Class on the command line"
        )
    try:
        value = pkgutil.resolve_name(target)
        if not callable(value):
            raise AttributeError("is not a class or a function")
    except (ImportError, AttributeError) as error:
        raise ValueError(f"space.target={target!r}: {error}") from None
    try:
        signature = inspect.signature(value)
        taken = {key: size for key, size in sizes.items() if key in signature.parameters}
        signature.bind(**taken)
    except TypeError as error:
        raise ValueError(
            f"space.target={target!r}: {error}; only {', '.join(sizes)} are known"
        ) from None
    model = value(**taken)
    if not isinstance(model, nn.Module):
        raise ValueError(f"space.target={target!r} does not return a torch.nn.Module")
    return model


def example(target: str) -> PassedModel:
    """Return a model that is not run; the state of random generators stays as it is."""
    return _passed.get() or _imported(target)


@cache
def _imported(target: str) -> PassedModel:
    with torch.random.fork_rng(devices=[]):
        # The choices do not depend on the sizes of the data.
        return PassedModel(build(target, {"classes": 2, "in_channels": 1}))
