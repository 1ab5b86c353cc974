"""The list ``space.candidates`` in spaces whose supernets contain all operations of the space.

Operations that the list leaves out stay in the supernet, but the masks of the search exclude them,
so they are neither run nor trained. An empty list stands for all operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from darts.spaces.checks import check_candidates
from darts.spaces.deriving import Candidates


def check_subset(subset: Sequence[str], choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse a list that leaves a choice without operations.

    Args:
        subset: The value of ``space.candidates``; may be empty.
        choices: The operations of each choice, by its name in error messages, for example "the
            first block of a stage".

    Raises:
        ValueError: For an unknown operation, one that occurs twice, or a choice without operations.
    """
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
