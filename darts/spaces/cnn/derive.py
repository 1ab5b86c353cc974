"""Conversions between mixing probabilities, cell genotypes and masks of candidates.

References:
    DARTS, arXiv:1806.09055, section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from darts.spaces.cnn.skeleton import count_nodes, edges
from darts.spaces.deriving import Candidates, check_groups, checked_rows, edge_mask
from darts.spaces.genotype import CELLS, OPERATIONS, PRIMITIVES, Genotype

_EDGES_PER_NODE = 2


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates | None = None) -> Genotype:
    """Keep the two strongest edges into each node and the strongest operation of each.

    The strength of an edge is the probability of its most probable operation other than ``none``.
    ``none`` takes part in the softmax, so edges must be ranked by probability: the edge with the
    largest alpha need not be the edge with the largest probability.

    Args:
        probabilities: for ``"normal"`` and ``"reduce"``, a tensor ``(edges, operations)`` of
            mixing probabilities (after the softmax, not the alphas), on any device. Edges are
            ordered by node, then by input: 14 rows for 4 nodes.
        candidates: by cell and edge, the operation of each column; by default the eight primitives.

    Returns:
        A genotype that concatenates all nodes; the stronger edge of a node comes first. Ties go to
        the lower index, for edges and for operations.

    Raises:
        ValueError: other cells, a shape that fits no cell or not the operations, unknown
            operations, or values that are not finite or not within 0 and 1.
    """
    check_groups("probabilities", probabilities, CELLS)
    cells = {
        cell: _derive_cell(
            cell,
            probabilities[cell],
            candidates[cell] if candidates else [PRIMITIVES] * len(probabilities[cell]),
        )
        for cell in CELLS
    }
    return Genotype(
        normal=cells["normal"],
        normal_concat=_all_nodes(cells["normal"]),
        reduce=cells["reduce"],
        reduce_concat=_all_nodes(cells["reduce"]),
    )


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Return which candidates a genotype uses: by cell a mask ``(edges, operations)``.

    Raises:
        ValueError: the genotype is not among the candidates.
    """
    return {
        cell: edge_mask(genotype.edges(cell), edges(count_nodes(len(names))), names, cell)
        for cell, names in candidates.items()
    }


def _derive_cell(
    cell: str, table: Tensor, names: Sequence[Sequence[str]]
) -> tuple[tuple[str, int], ...]:
    """Return ``(operation, source)`` of each kept edge of one cell."""
    nodes = _checked_nodes(names)
    rows = checked_rows(cell, table, (len(names), len(names[0])))
    kept: list[tuple[str, int]] = []
    for node in range(nodes):
        first = node * (node + 3) // 2
        inputs = range(first, first + node + 2)
        # max() and sorted() both keep the first of equal elements.
        best = {edge: max(_columns(names[edge]), key=rows[edge].__getitem__) for edge in inputs}
        ranked = sorted(inputs, key=lambda edge: -rows[edge][best[edge]])
        kept += [(names[edge][best[edge]], edge - first) for edge in ranked[:_EDGES_PER_NODE]]
    return tuple(kept)


def _all_nodes(pairs: Sequence[tuple[str, int]]) -> tuple[int, ...]:
    return tuple(range(2, len(pairs) // _EDGES_PER_NODE + 2))


def _columns(names: Sequence[str]) -> list[int]:
    """Return the columns of operations other than ``none``."""
    return [column for column, name in enumerate(names) if name != "none"]


def _checked_nodes(names: Sequence[Sequence[str]]) -> int:
    """Return the number of nodes after checking the names of the columns."""
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
