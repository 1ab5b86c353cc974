"""Derive recurrent genotypes from probabilities, and masks of candidates from genotypes.

References:
    DARTS, arXiv:1806.09055, section 2.4; recurrent cells keep one edge per node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from darts.spaces.deriving import Candidates, check_groups, checked_rows, edge_mask
from darts.spaces.recurrent.genotype import ACTIVATIONS, PRIMITIVES, Genotype

GROUP = "recurrent"
"""The only group of alphas."""


def edges_of(nodes: int) -> tuple[tuple[int, int], ...]:
    """Return ``(source, target)`` of each edge of the supernet, by target, then by source."""
    return tuple((source, node) for node in range(1, nodes + 1) for source in range(node))


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Keep the strongest edge into each node, and its strongest activation.

    The strength of an edge is the probability of its most probable candidate other than ``none``.
    ``none`` is included in the softmax, so a probable ``none`` weakens its edge.

    Returns:
        A genotype whose output is the mean of all nodes. Ties go to the lower edge and column.

    Raises:
        ValueError: Wrong groups, a number of edges that forms no cell, a shape that does not match
            the candidates, or values that are not finite or not within 0 and 1.
    """
    check_groups("probabilities", probabilities, (GROUP,))
    check_groups("candidates", candidates, (GROUP,))
    names = candidates[GROUP]
    num_nodes = _count_nodes(names)
    rows = checked_rows(GROUP, probabilities[GROUP], (len(names), len(names[0])))
    nodes: list[tuple[str, int]] = []
    first = 0
    for node in range(1, num_nodes + 1):
        edges = range(first, first + node)
        # max() returns the first of equal values.
        best = {
            edge: max(
                (column for column, name in enumerate(names[edge]) if name != "none"),
                key=rows[edge].__getitem__,
            )
            for edge in edges
        }
        edge = max(edges, key=lambda edge: rows[edge][best[edge]])
        nodes.append((names[edge][best[edge]], edge - first))
        first += node
    return Genotype(nodes, range(1, num_nodes + 1))


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Return which candidates a genotype uses, ``{"recurrent": (edges, operations)}``.

    Raises:
        ValueError: The genotype is not among the candidates.
    """
    names = candidates[GROUP]
    return {GROUP: edge_mask(genotype.edges(), edges_of(_count_nodes(names)), names, GROUP)}


def _count_nodes(names: Sequence[Sequence[str]]) -> int:
    """Check the candidates and return the number of nodes that their edges form."""
    nodes = 0
    while nodes * (nodes + 1) // 2 < len(names):
        nodes += 1
    if not names or nodes * (nodes + 1) // 2 != len(names):
        raise ValueError(
            f"{len(names)} edges form no recurrent cell; the number must be 1, 3, 6, 10, ..."
        )
    for row in names:
        if len(set(row)) != len(row) or not set(row) <= set(PRIMITIVES):
            raise ValueError(
                f"candidates must be distinct and from {', '.join(PRIMITIVES)}, not {list(row)}"
            )
        if not set(row) & set(ACTIVATIONS):
            raise ValueError(f"candidates {list(row)} contain no activation")
    return nodes
