"""Numbers that say how far the alphas have made up their mind.

Everything here takes probabilities of shape (edges, operations): the mixing weights of one kind
of cell, after the relaxation (a softmax, say), not the raw alphas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from darts.spaces import space_of


def edge_names(edges: Iterable[tuple[int, int]]) -> list[str]:
    """Name edges by their source and target: "0→2", "1→2", ..."""
    return [f"{source}→{target}" for source, target in edges]


def column_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names of the columns of all edges; numbers where the edges have candidates of their own."""
    if all(row == rows[0] for row in rows):
        return list(rows[0])
    return [f"candidate {number}" for number in range(len(rows[0]))]


def named_history(history: Sequence[Mapping[str, Tensor]], context: Any) -> dict[str, Any]:
    """Mixing weights over the epochs with the names of edges and operations, for ``alphas.json``.

    Args:
        history: by kind of cell ``(edges, operations)``, at the end of each epoch.
        context: names edges and columns, see ``darts.spaces.SearchContext``.

    Returns:
        By kind of cell ``edges``, ``operations`` (those of each edge) and ``epochs``: for each
        epoch a matrix of the mixing weights, to six digits.
    """
    return {
        cell: {
            "edges": edge_names(context.edges[cell]),
            "operations": [list(row) for row in context.candidates[cell]],
            "epochs": [
                [[round(value, 6) for value in row] for row in weights[cell].tolist()]
                for weights in history
            ],
        }
        for cell in (history[-1] if history else ())
    }


def entropy(p: Tensor) -> Tensor:
    """Entropy of each edge in nats, (edges, operations) -> (edges,); log(operations) at most."""
    return torch.special.entr(p).sum(dim=-1)


def margin(p: Tensor, *, none: int | None = 0) -> Tensor:
    """Lead of each edge's strongest operation over its second, (edges, operations) -> (edges,).

    Args:
        p: probabilities.
        none: the column of `none`, which is never chosen and so does not compete. None if the
            space has no such operation.

    Raises:
        ValueError: if fewer than two operations compete.
    """
    columns = [column for column in range(p.shape[-1]) if column != none]
    if len(columns) < 2:
        raise ValueError(f"a margin needs two operations besides none, not {len(columns)}")
    best = p[..., columns].topk(2, dim=-1).values  # (edges, 2)
    return best[..., 0] - best[..., 1]


def scalars_of(probabilities: Mapping[str, Tensor], context: Any) -> dict[str, float]:
    """Scalars for TensorBoard from the probabilities of each kind of cell.

    Args:
        probabilities: cell name -> (edges, operations).
        context: names the edges and the operations, see `darts.spaces.SearchContext`.

    Returns:
        `alpha/<cell>/<edge>/<operation>`, and `entropy/<cell>/<edge>`, `entropy/<cell>/mean`,
        `margin/<cell>/<edge>` and `margin/<cell>/mean`.

    Raises:
        ValueError: if the columns and the names of the operations differ in number.
    """
    scalars: dict[str, float] = {}
    for cell, p in probabilities.items():
        rows = context.candidates[cell]
        if p.shape[-1] != len(rows[0]):
            raise ValueError(f"{cell}: {p.shape[-1]} columns for {len(rows[0])} operations")
        p = p.detach().to(device="cpu", dtype=torch.float64)
        names = edge_names(context.edges[cell])
        for name, operations, row in zip(names, rows, p.tolist(), strict=True):
            for operation, value in zip(operations, row, strict=True):
                scalars[f"alpha/{cell}/{name}/{operation}"] = value
        spread = entropy(p)
        for name, value in zip(names, spread.tolist(), strict=True):
            scalars[f"entropy/{cell}/{name}"] = value
        scalars[f"entropy/{cell}/mean"] = float(spread.mean())
        columns = column_names(rows)
        none = columns.index("none") if "none" in columns else None
        if p.shape[-1] - (none is not None) >= 2:
            leads = margin(p, none=none)
            for name, value in zip(names, leads.tolist(), strict=True):
                scalars[f"margin/{cell}/{name}"] = value
            scalars[f"margin/{cell}/mean"] = float(leads.mean())
    return scalars


def means_of(scalars: Mapping[str, float]) -> dict[str, float]:
    """Of such scalars the means alone, a few for each kind of cell."""
    return {name: value for name, value in scalars.items() if name.endswith("/mean")}


def genotype_counts(genotype: Any, operations: Sequence[str] | None = None) -> dict[str, int]:
    """How often each operation stands in each cell: `genotype/<cell>/<operation>` -> count.

    A search that fills its cells with skip connections has collapsed, so these, by the name that
    the space has for them, and ``none`` are counted by default. The tags do not depend on the
    genotype: absent operations count 0.

    Args:
        genotype: of any space.
        operations: the operations to count.
    """
    if operations is None:
        operations = [name for name in (space_of(genotype).skip, "none") if name]
    return {
        f"genotype/{cell}/{operation}": sum(
            name == operation for _, _, name in genotype.edges(cell)
        )
        for cell in genotype.cells
        for operation in operations
    }
