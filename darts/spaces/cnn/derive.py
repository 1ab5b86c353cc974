"""From mixing probabilities to a genotype and back to the columns that it uses.

References:
    DARTS, arXiv:1806.09055, section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from darts.spaces.cnn.skeleton import count_nodes, edges
from darts.spaces.genotype import CELLS, OPERATIONS, PRIMITIVES, Genotype
from darts.spaces.probabilities import checked_rows

_EDGES_PER_NODE = 2

Candidates = Mapping[str, Sequence[Sequence[str]]]


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates | None = None) -> Genotype:
    """Keep the two strongest edges into each node, and on each the strongest operation.

    An edge is as strong as its most probable operation other than ``none``. ``none`` still takes
    its share of the softmax, which is why the ranking needs probabilities: the edge with the
    largest alpha need not be the one with the largest probability.

    Args:
        probabilities: for ``"normal"`` and ``"reduce"``, a tensor ``(edges, operations)`` of
            mixing probabilities (after the softmax, not the alphas), on any device. Edges are
            ordered node by node and, within a node, input by input: 14 rows for 4 nodes.
        candidates: for each cell and edge the operation of each column; the eight primitives when
            not given.

    Returns:
        A genotype that concatenates all nodes; of a node's edges the stronger comes first. Ties
        go to the lower index, among the edges and among the operations.

    Raises:
        ValueError: cells other than these two, a shape that fits no cell or not the operations,
            unknown operations, or values that are not finite or not within 0 and 1.
    """
    if set(probabilities) != set(CELLS):
        raise ValueError(
            f"probabilities are for cells {sorted(probabilities)}, not for {', '.join(CELLS)}"
        )
    parts: list[tuple[tuple[str, int], ...] | tuple[int, ...]] = []
    for cell in CELLS:
        table = probabilities[cell]
        names = candidates[cell] if candidates else [PRIMITIVES] * len(table)
        nodes = _nodes(names)
        rows = checked_rows(cell, table, (len(names), len(names[0])))
        found: list[tuple[str, int]] = []
        for node in range(nodes):
            first = node * (node + 3) // 2
            inputs = range(first, first + node + 2)
            # max() and sorted() both keep the first among equals.
            best = {edge: max(_columns(names[edge]), key=rows[edge].__getitem__) for edge in inputs}
            ranked = sorted(inputs, key=lambda edge: -rows[edge][best[edge]])
            found += [(names[edge][best[edge]], edge - first) for edge in ranked[:_EDGES_PER_NODE]]
        parts += [tuple(found), tuple(range(2, nodes + 2))]
    return Genotype(*parts)  # type: ignore[arg-type]


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Which column of which edge a genotype uses: by cell ``(edges, operations)``.

    Raises:
        ValueError: for a genotype that is not among the candidates.
    """
    masks = {}
    for cell, names in candidates.items():
        rows = {edge: row for row, edge in enumerate(edges(count_nodes(len(names))))}
        mask = torch.zeros(len(names), len(names[0]), dtype=torch.bool)
        for source, target, operation in genotype.edges(cell):
            row = rows.get((source, target))
            if row is None or operation not in names[row]:
                raise ValueError(f"{operation} from {source} to {target} is no candidate of {cell}")
            mask[row, list(names[row]).index(operation)] = True
        masks[cell] = mask
    return masks


def _columns(names: Sequence[str]) -> list[int]:
    """The columns that may be chosen."""
    return [column for column, name in enumerate(names) if name != "none"]


def _nodes(names: Sequence[Sequence[str]]) -> int:
    """The number of nodes, once the names of the columns are in order."""
    nodes = count_nodes(len(names))
    for row in names:
        unknown = [name for name in row if name not in OPERATIONS]
        if unknown or len(set(row)) != len(row):
            raise ValueError(
                f"operations must be distinct names of {', '.join(OPERATIONS)}, not {list(row)!r}"
            )
        if not _columns(row):
            raise ValueError(f"operations {list(row)!r} hold none but 'none'")
    return nodes
