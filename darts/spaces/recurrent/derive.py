"""From mixing probabilities to a recurrent cell, and back to the columns that it uses.

References:
    DARTS, arXiv:1806.09055, section 2.4, with one predecessor a node in recurrent cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from darts.spaces.probability_rows import checked_rows
from darts.spaces.recurrent.genotype import ACTIVATIONS, PRIMITIVES, Genotype

GROUP = "recurrent"
"""The one group of alphas."""

Candidates = Mapping[str, Sequence[Sequence[str]]]


def edges_of(nodes: int) -> tuple[tuple[int, int], ...]:
    """``(source, target)`` of each edge of the supernet, node by node and input by input."""
    return tuple((source, node) for node in range(1, nodes + 1) for source in range(node))


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Keep the strongest edge into each node, and on it the strongest activation.

    An edge is as strong as its most probable candidate other than ``none``, which still takes its
    share of the softmax.

    Args:
        probabilities: ``{"recurrent": (edges, columns)}``, on any device; 36 edges for 8 nodes.
        candidates: ``{"recurrent": for each edge the name of each column}``.

    Returns:
        A genotype that puts out the mean of all nodes. Ties go to the lower edge and column.

    Raises:
        ValueError: other groups, a shape that fits no cell or not the candidates, or values that
            are not finite or not within 0 and 1.
    """
    for what, mapping in (("probabilities", probabilities), ("candidates", candidates)):
        if set(mapping) != {GROUP}:
            raise ValueError(f"{what} are for groups {sorted(mapping)}, not for {GROUP}")
    names = candidates[GROUP]
    nodes = _nodes(names)
    rows = checked_rows(GROUP, probabilities[GROUP], (len(names), len(names[0])))
    found: list[tuple[str, int]] = []
    first = 0
    for node in range(1, nodes + 1):
        inputs = range(first, first + node)
        # max() keeps the first among equals.
        best = {edge: max(_columns(names[edge]), key=rows[edge].__getitem__) for edge in inputs}
        edge = max(inputs, key=lambda edge: rows[edge][best[edge]])
        found.append((names[edge][best[edge]], edge - first))
        first += node
    return Genotype(found, range(1, nodes + 1))


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Which column of which edge a genotype uses, ``{"recurrent": (edges, columns)}``.

    Raises:
        ValueError: for a genotype that is not among the candidates.
    """
    names = candidates[GROUP]
    rows = {edge: row for row, edge in enumerate(edges_of(_nodes(names)))}
    mask = torch.zeros(len(names), len(names[0]), dtype=torch.bool)
    for source, target, activation in genotype.edges():
        row = rows.get((source, target))
        if row is None or activation not in names[row]:
            raise ValueError(f"{activation} from {source} to {target} is no candidate of {GROUP}")
        mask[row, list(names[row]).index(activation)] = True
    return {GROUP: mask}


def _columns(names: Sequence[str]) -> list[int]:
    """The columns that may be chosen."""
    return [column for column, name in enumerate(names) if name != "none"]


def _nodes(names: Sequence[Sequence[str]]) -> int:
    """The number of nodes, once the names of the columns are in order."""
    nodes = 0
    while nodes * (nodes + 1) // 2 < len(names):
        nodes += 1
    if not names or nodes * (nodes + 1) // 2 != len(names):
        raise ValueError(f"{len(names)} edges make no recurrent cell, which has 1, 3, 6, 10, ...")
    for row in names:
        if len(set(row)) != len(row) or not set(row) <= set(PRIMITIVES):
            raise ValueError(
                f"candidates must be distinct names of {', '.join(PRIMITIVES)}, not {list(row)}"
            )
        if not set(row) & set(ACTIVATIONS):
            raise ValueError(f"candidates {list(row)} hold no activation")
    return nodes
