"""The published rule from mixing probabilities to a genotype: keep the strongest edges.

References:
    DARTS, arXiv:1806.09055, section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from darts.spaces.genotype import CELLS, OPERATIONS, PRIMITIVES, Genotype

_EDGES_PER_NODE = 2


def argmax(
    probabilities: Mapping[str, Tensor],
    *,
    operations: Sequence[str] = PRIMITIVES,
    incoming: int = 2,
) -> Genotype:
    """Keep the two strongest edges into each node, and on each the strongest operation.

    An edge is as strong as its most probable operation other than ``none``. ``none`` still takes
    its share of the softmax, which is why the ranking needs probabilities: the edge with the
    largest alpha need not be the one with the largest probability.

    Args:
        probabilities: for ``"normal"`` and ``"reduce"``, a tensor ``(edges, operations)`` of
            mixing probabilities (after the softmax, not the alphas), on any device. Edges are
            ordered node by node and, within a node, input by input: 14 rows for 4 nodes.
        operations: the operation of each column.
        incoming: edges to keep a node. A genotype holds 2.

    Returns:
        A genotype that concatenates all nodes; of a node's edges the stronger comes first. Ties
        go to the lower index, among the edges and among the operations.

    Raises:
        ValueError: cells other than these two, a shape that fits no cell or not the operations,
            values that are not finite or not within 0 and 1, or another ``incoming``.
    """
    if incoming != _EDGES_PER_NODE:
        raise ValueError(f"incoming={incoming!r}: a genotype keeps {_EDGES_PER_NODE} edges a node")
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown or len(set(operations)) != len(operations):
        raise ValueError(
            f"operations must be distinct names of {', '.join(OPERATIONS)}, "
            f"not {list(operations)!r}"
        )
    candidates = [column for column, name in enumerate(operations) if name != "none"]
    if not candidates:
        raise ValueError(f"operations {list(operations)!r} hold none but 'none'")
    if set(probabilities) != set(CELLS):
        raise ValueError(
            f"probabilities are for cells {sorted(probabilities)}, not for {', '.join(CELLS)}"
        )
    parts: list[tuple[tuple[str, int], ...] | tuple[int, ...]] = []
    for cell in CELLS:
        table = probabilities[cell].detach()
        nodes = _count_nodes(cell, table, len(operations))
        # float64 holds every narrower float exactly, so no tie appears or vanishes here.
        rows = table.to("cpu", torch.float64).tolist()
        edges: list[tuple[str, int]] = []
        for node in range(nodes):
            first = node * (node + 3) // 2
            inputs = rows[first : first + node + 2]
            # max() and sorted() both keep the first among equals.
            best = [max(candidates, key=row.__getitem__) for row in inputs]
            ranked = sorted(range(node + 2), key=lambda i: -inputs[i][best[i]])
            edges += [(operations[best[source]], source) for source in ranked[:incoming]]
        parts += [tuple(edges), tuple(range(2, nodes + 2))]
    return Genotype(*parts)  # type: ignore[arg-type]


def _count_nodes(cell: str, table: Tensor, columns: int) -> int:
    """How many nodes have that many edges: n nodes have 2 + 3 + ... + (n + 1)."""
    if table.ndim != 2 or table.shape[1] != columns:
        raise ValueError(
            f"probabilities of {cell} have shape {tuple(table.shape)}, not (edges, {columns})"
        )
    nodes, edges = 0, 0
    while edges < table.shape[0]:
        edges += nodes + 2
        nodes += 1
    if not nodes or edges != table.shape[0]:
        raise ValueError(
            f"probabilities of {cell} have {table.shape[0]} edges; cells have 2, 5, 9, 14, 20, ..."
        )
    if not bool(torch.isfinite(table).all()):
        raise ValueError(f"probabilities of {cell} hold values that are not finite")
    low, high = float(table.min()), float(table.max())
    if low < 0 or high > 1 + 1e-3:
        raise ValueError(
            f"probabilities of {cell} range from {low:.4g} to {high:.4g}, not within 0 and 1; "
            "take the softmax of the alphas first"
        )
    return nodes
