"""The operations that the networks of a space contain, each with the shape of its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from darts.spaces import Space
from darts.spaces.deriving import Candidates

FIXED = "fixed"

Shape: TypeAlias = tuple[int, ...]
# A module as text, and the shape of its input for one sample; equal keys cost the same.
Key: TypeAlias = tuple[str, Shape]


@dataclass(frozen=True)
class Operation:
    """An operation that is measured once, wherever it occurs."""

    name: str  # of the candidate; FIXED for a part of all networks, such as the stem
    key: Key
    make: Callable[[], nn.Module]


def candidates_of(space: Space, **sizes: int) -> Candidates:
    """Return the names of the candidates of a supernet of these sizes, by group and edge."""
    own: dict[str, Any] = {**sizes}
    with torch.device("meta"):  # without memory for the weights
        return space.supernet(**own).candidates


def operations_of(space: Space, *, classes: int, sample_shape: Shape) -> list[Operation]:
    """Return the different operations of a space in the order of their first occurrence.

    Operations that do not compute anything are left out, see ``is_free``.
    """
    channels = space.in_channels(sample_shape)
    candidates = candidates_of(space, classes=classes, in_channels=channels)
    found: dict[Key, Operation] = {}
    for piece in space.pieces(classes=classes, sample_shape=sample_shape):
        module, name = piece.make(), FIXED
        if piece.place is not None:
            group, edge, column = piece.place
            name = candidates[group][edge][column] if group in candidates else group
        key = key_of(module, piece.shape)
        if key not in found and not is_free(space, name, module):
            found[key] = Operation(name, key, piece.make)
    return list(found.values())


def key_of(module: nn.Module, shape: Shape) -> Key:
    """Return the key under which the cost of a module is stored."""
    return " ".join(str(module).split()), tuple(shape)


def is_free(space: Space, name: str, module: nn.Module) -> bool:
    """Return whether a network does not compute an operation: it passes its input on, or zeros."""
    computes = any(True for _ in module.parameters())
    return isinstance(module, nn.Identity) or (name in space.skip_operations and not computes)
