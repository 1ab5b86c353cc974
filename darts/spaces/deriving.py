"""Candidates: lists of them, genotypes derived from their probabilities, and masks of genotypes.

In a space whose supernet contains all operations of the space, the list ``space.candidates`` leaves
operations out: they stay in the supernet, but the masks of the search exclude them, so they are
neither run nor trained. An empty list stands for all operations.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

# Tensors by group of alphas.
ByGroup: TypeAlias = Mapping[str, Tensor]

# By group and edge, the operation of each column.
Candidates: TypeAlias = Mapping[str, Sequence[Sequence[str]]]


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


def checked_rows(probabilities: ByGroup, candidates: Candidates) -> dict[str, list[list[float]]]:
    """Return the probabilities of each group as one list per edge, after checking them."""
    if set(probabilities) != set(candidates):
        raise ValueError(
            f"probabilities: groups {sorted(probabilities)} must be {sorted(candidates)}"
        )
    return {g: _checked_rows(g, probabilities[g], names) for g, names in candidates.items()}


def _checked_rows(group: str, table: Tensor, names: Sequence[Sequence[str]]) -> list[list[float]]:
    table, shape = table.detach(), (len(names), len(names[0]))
    if tuple(table.shape) != shape:
        raise ValueError(
            f"probabilities of {group} have shape {tuple(table.shape)}, not "
            f"({shape[0]} edges, {shape[1]} operations)"
        )
    low, high = float(table.min()), float(table.max())
    if not (low >= 0 and high <= 1 + 1e-3):  # also for NaN
        raise ValueError(
            f"probabilities of {group} range from {low:.4g} to {high:.4g}, not within 0 and 1; "
            "take the softmax of the alphas first"
        )
    # float64 represents every value of the narrower dtypes exactly, so ties remain ties.
    rows: list[list[float]] = table.to("cpu", torch.float64).tolist()
    return rows


def best_columns(probabilities: ByGroup, candidates: Candidates) -> dict[str, list[int]]:
    """Return the most probable column of each edge by group; ties go to the lower column."""
    tables = checked_rows(probabilities, candidates)
    return {group: [row.index(max(row)) for row in rows] for group, rows in tables.items()}


def draw(generator: torch.Generator, values: Sequence[T]) -> T:
    """Draw a value from the uniform distribution."""
    return values[int(torch.randint(len(values), (), generator=generator, device=generator.device))]


def check_candidate(operation: str, names: Sequence[str], place: str) -> None:
    """Raise ValueError unless an operation is among the candidates of a place."""
    if operation not in names:
        raise ValueError(
            f"{operation} is not a candidate of {place}; choose from {', '.join(names)}"
        )


def chain_mask(
    operations: Sequence[str], rows: Sequence[tuple[str, int]], candidates: Candidates
) -> dict[str, Tensor]:
    """Return by group a mask ``(edges, operations)`` of one operation per edge."""
    edges = sum(map(len, candidates.values()))
    if not len(operations) == len(rows) == edges:
        raise ValueError(
            f"the genotype has {len(operations)} operations, but the supernet has {edges} edges"
        )
    masks = {
        group: torch.zeros(len(names), len(names[0]), dtype=torch.bool)
        for group, names in candidates.items()
    }
    for operation, (group, row) in zip(operations, rows, strict=True):
        names = candidates[group][row]
        check_candidate(operation, names, f"edge {row} of {group}")
        masks[group][row, list(names).index(operation)] = True
    return masks


def edge_mask(
    edges: Sequence[tuple[int, int, str]],
    layout: Sequence[tuple[int, int]],
    names: Sequence[Sequence[str]],
    group: str,
) -> Tensor:
    """Return a mask ``(edges, operations)`` of the candidates that the edges of a genotype use.

    An edge of the genotype with the operation ``none`` sets no entry if ``none`` is not a
    candidate: the edge is missing from the architecture.
    """
    rows = {pair: row for row, pair in enumerate(layout)}
    mask = torch.zeros(len(names), len(names[0]), dtype=torch.bool)
    for source, target, operation in edges:
        row = rows.get((source, target))
        if row is not None and operation == "none" and "none" not in names[row]:
            continue
        if row is None or operation not in names[row]:
            raise ValueError(f"{operation} from {source} to {target} is not a candidate of {group}")
        mask[row, list(names[row]).index(operation)] = True
    return mask
