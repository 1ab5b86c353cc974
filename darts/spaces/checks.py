"""Checks of arguments that the supernets and networks of all spaces share.

In a space whose supernet contains all operations of the space, the list ``space.candidates`` leaves
operations out: they stay in the supernet, but the masks of the search exclude them, so they are
neither run nor trained. An empty list stands for all operations.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from darts.spaces.deriving import Candidates


def check_positive(**values: int) -> None:
    """Raise ValueError with the argument's name unless each value is an integer of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value!r}: must be an integer >= 1")


def check_drop_probability(**values: float) -> None:
    """Raise ValueError with the argument's name unless each value is within [0, 1)."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name}={value!r}: must be >= 0 and < 1")


def check_candidates(candidates: object, known: Collection[str]) -> tuple[str, ...]:
    """Return a list of different known operations as a tuple; raise ValueError for other values."""
    key = "space.candidates"
    if not isinstance(candidates, list | tuple) or not candidates:
        raise ValueError(f"{key}={candidates!r}: must be a list of operations")
    for name in candidates:
        if name not in known:
            raise ValueError(f"{key}: {name!r} is unknown; choose from {', '.join(known)}")
        if candidates.count(name) > 1:
            raise ValueError(f"{key}: {name!r} occurs more than once")
    if set(candidates) == {"none"}:
        raise ValueError(f"{key}: 'none' alone is not a network; add another operation")
    return tuple(candidates)


def check_subset(subset: Sequence[str], choices: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError if a list leaves one of the choices, given by name, without operations."""
    if not subset:
        return
    check_candidates(subset, list(dict.fromkeys(name for row in choices.values() for name in row)))
    for what, names in choices.items():
        if not allowed(names, subset):
            raise ValueError(
                f"space.candidates leaves nothing for {what}; add one of {', '.join(names)}"
            )


def allowed(names: Sequence[str], subset: Sequence[str]) -> tuple[str, ...]:
    """Return those names that are in the subset, in their order; all if the subset is empty."""
    return tuple(name for name in names if not subset or name in subset)


def subset_masks(candidates: Candidates, subset: Sequence[str]) -> dict[str, Tensor]:
    """Return by group a mask ``(edges, operations)`` of the subset; no masks if it is empty."""
    if not subset:
        return {}
    return {
        group: torch.tensor([[name in subset for name in row] for row in rows])
        for group, rows in candidates.items()
    }
