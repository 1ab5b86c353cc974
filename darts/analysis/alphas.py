"""Numbers that say how far the alphas have made up their mind.

Everything here takes probabilities of shape (edges, operations): the mixing weights of one kind
of cell, after the relaxation (a softmax, say), not the raw alphas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def edge_names(rows: int, *, inputs: int = 2) -> list[str]:
    """Name the edges of a cell whose every node sees all nodes before it: "0→2", "1→2", ...

    Nodes 0 to inputs - 1 are the cell's inputs. Edges are listed node by node, and for each node
    input by input.

    Raises:
        ValueError: if `rows` edges do not make a whole number of nodes.
    """
    names: list[str] = []
    node = inputs
    while len(names) < rows:
        names.extend(f"{source}→{node}" for source in range(node))
        node += 1
    if len(names) != rows:
        raise ValueError(f"{rows} edges do not make whole nodes of a cell with {inputs} inputs")
    return names


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


def scalars_of(
    probabilities: Mapping[str, Tensor],
    operations: Sequence[str],
    *,
    edges: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, float]:
    """Scalars for TensorBoard from the probabilities of each kind of cell.

    Args:
        probabilities: cell name -> (edges, operations).
        operations: the names of the columns.
        edges: cell name -> names of the rows; `edge_names` by default.

    Returns:
        `alpha/<cell>/<edge>/<operation>`, `entropy/<cell>/<edge>`, `entropy/<cell>/mean` and
        `margin/<cell>/mean`.

    Raises:
        ValueError: if the columns and the names of the operations differ in number.
    """
    none = operations.index("none") if "none" in operations else None
    scalars: dict[str, float] = {}
    for cell, p in probabilities.items():
        if p.shape[-1] != len(operations):
            raise ValueError(f"{cell}: {p.shape[-1]} columns for {len(operations)} operations")
        p = p.detach().to(device="cpu", dtype=torch.float64)
        names = list(edges[cell]) if edges is not None else edge_names(len(p))
        for name, row in zip(names, p.tolist(), strict=True):
            for operation, value in zip(operations, row, strict=True):
                scalars[f"alpha/{cell}/{name}/{operation}"] = value
        spread = entropy(p)
        for name, value in zip(names, spread.tolist(), strict=True):
            scalars[f"entropy/{cell}/{name}"] = value
        scalars[f"entropy/{cell}/mean"] = float(spread.mean())
        if p.shape[-1] - (none is not None) >= 2:
            scalars[f"margin/{cell}/mean"] = float(margin(p, none=none).mean())
    return scalars


def genotype_counts(
    genotype: Any, operations: Sequence[str] = ("skip_connect", "none")
) -> dict[str, int]:
    """How often each operation stands in each cell: `genotype/<cell>/<operation>` -> count.

    A search that fills its cells with skip connections has collapsed, so these are the counts
    kept by default. The tags do not depend on the genotype: absent operations count 0.

    Args:
        genotype: has the attributes `normal` and `reduce` (or one of them), tuples of
            (operation, source).
        operations: the operations to count.
    """
    return {
        f"genotype/{cell}/{operation}": sum(
            name == operation for name, _ in getattr(genotype, cell)
        )
        for cell in ("normal", "reduce")
        if hasattr(genotype, cell)
        for operation in operations
    }
