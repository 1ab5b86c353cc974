"""Numbers that describe the alphas of a search: probabilities, entropies, margins and counts.

Probabilities are ``(edges, operations)`` by group, after the relaxation (for example a softmax). No
function takes raw alphas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, TypeAlias, TypedDict

import msgspec
import torch
from torch import Tensor

from darts.methods.collapse import count_edges
from darts.spaces import AnyGenotype, ByGroup, SearchContext, space_of

# The name of a group, an edge or an operation.
Label: TypeAlias = Annotated[str, msgspec.Meta(max_length=60)]


# A probability with rounding errors.
Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1.0001)]


class GroupHistory(TypedDict):
    """Probabilities of one group over the epochs; a value of ``alphas.json``."""

    edges: list[Label]  # names, see ``edge_names``
    operations: list[list[Label]]  # candidates of each edge
    epochs: list[list[list[Probability]]]  # (epochs, edges, operations)


def edge_names(edges: Iterable[tuple[int, int]]) -> list[str]:
    """Return the names of edges, made of source and target: "0→2", "1→2", ..."""
    return [f"{source}→{target}" for source, target in edges]


def column_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of the columns; numbered names if the candidates differ between edges."""
    if all(row == rows[0] for row in rows):
        return list(rows[0])
    return [f"candidate {number}" for number in range(len(rows[0]))]


def named_history(history: Sequence[ByGroup], context: SearchContext) -> dict[str, GroupHistory]:
    """Return the probabilities of all epochs by group, with the names of edges and operations.

    The probabilities are rounded to six digits.
    """
    return {
        group: {
            "edges": edge_names(context.edges[group]),
            "operations": [list(row) for row in context.candidates[group]],
            "epochs": [
                [[round(value, 6) for value in row] for row in p[group].tolist()] for p in history
            ],
        }
        for group in (history[-1] if history else ())
    }


def entropy(p: Tensor) -> Tensor:
    """Return the entropy of each edge in nats: ``(edges, operations)`` -> ``(edges,)``."""
    entropies: Tensor = torch.special.entr(p)
    return entropies.sum(dim=-1)


def margin(p: Tensor, *, none: int | None = 0) -> Tensor:
    """Return the best minus the second-best probability of each edge, ``(edges,)``.

    The operation in the column ``none`` does not compete, because discretization never selects it.
    """
    columns = [column for column in range(p.shape[-1]) if column != none]
    best = p[..., columns].topk(2, dim=-1).values  # (edges, 2)
    return best[..., 0] - best[..., 1]


def alpha_scalars(
    probabilities: ByGroup, context: SearchContext, *, edges: bool = False
) -> dict[str, float]:
    """Return scalars that describe the probabilities of each group.

    These are ``entropy/<group>/mean`` and ``margin/<group>/mean``. With ``edges`` also
    ``alpha/<group>/<edge>/<operation>``, ``entropy/<group>/<edge>`` and ``margin/<group>/<edge>``.
    """
    scalars: dict[str, float] = {}
    for group, p in probabilities.items():
        rows = context.candidates[group]
        p = p.detach().to(device="cpu", dtype=torch.float64)
        names = edge_names(context.edges[group])
        columns = column_names(rows)
        none = columns.index("none") if "none" in columns else None
        values = {"entropy": entropy(p)}
        if p.shape[-1] - (none is not None) >= 2:
            values["margin"] = margin(p, none=none)
        for kind, numbers in values.items():
            scalars[f"{kind}/{group}/mean"] = float(numbers.mean())
            if edges:
                own = zip(names, numbers.tolist(), strict=True)
                scalars |= {f"{kind}/{group}/{name}": value for name, value in own}
        for name, operations, row in zip(names, rows, p.tolist(), strict=True) if edges else ():
            for operation, value in zip(operations, row, strict=True):
                scalars[f"alpha/{group}/{name}/{operation}"] = value
    return scalars


def genotype_counts(genotype: AnyGenotype) -> dict[str, int]:
    """Return how often each cell has a skip connection or none: ``genotype/<cell>/<operation>``.

    Many of them are a sign of collapse. The count of an absent operation is 0, so every genotype
    has the same tags.
    """
    operations = [name for name in (space_of(genotype).skip_operation, "none") if name]
    return {
        f"genotype/{cell}/{operation}": count
        for operation in operations
        for cell, count in count_edges(genotype, [operation]).items()
    }
