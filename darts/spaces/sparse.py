"""Cells of the ``cnn`` space in which nodes have fewer or more than two inputs.

A cell has two edges per node, or it is complete: it lists an edge from every earlier state into
each node, ordered by node, then source, and ``none`` marks those that do not exist. A complete cell
of n > 1 nodes has n (n + 3) / 2 edges; its last node is among those that it concatenates, from
which n is read. (A cell with two edges per node looks complete only if several of its last nodes
are neither concatenated nor read.)

In cells with two edges per node, ``none`` also marks a missing edge, and a node without inputs is
not concatenated, as in the cells of Fair DARTS (arXiv:1911.12126).
"""

from __future__ import annotations

from collections.abc import Sequence

from darts.spaces.genotype_text import is_integer

Pairs = tuple[tuple[str, int], ...]
NONE = "none"


def drop_edges(
    pairs: Pairs, concat: Sequence[int], kept: Sequence[bool]
) -> tuple[Pairs, tuple[int, ...]]:
    """Remove edges of a cell, then nodes without inputs and the edges that leave them.

    Returns:
        The edges, in which ``none`` replaces removed operations, and the nodes to concatenate: an
        empty tuple if none of them has an input.
    """
    existing = {0, 1}
    edges: list[tuple[str, int]] = []
    for index, ((name, source), keep) in enumerate(zip(pairs, kept, strict=True)):
        if name != NONE and keep and source in existing:
            edges.append((name, source))
            existing.add(index // 2 + 2)
        else:
            edges.append((NONE, source))
    return tuple(edges), tuple(node for node in concat if node in existing)


def all_edges(nodes: int) -> list[tuple[int, int]]:
    """Return ``(source, node)`` of all possible edges of a cell, ordered by node, then source.

    States 0 and 1 are the outputs of the two cells before; nodes are states 2 and up. Four nodes
    have 14 edges.
    """
    return [(source, node) for node in range(2, nodes + 2) for source in range(node)]


def is_complete(pairs: Sequence[object], concat: object) -> bool:
    """Return whether a cell lists the edges from all earlier states; values may be unchecked."""
    states = concat if isinstance(concat, list | tuple | range) else ()
    nodes = max((state for state in states if is_integer(state) and state < 1000), default=0) - 1
    sources = [p[1] for p in pairs if isinstance(p, list | tuple) and len(p) == 2]
    if nodes < 2 or len(pairs) != nodes * (nodes + 3) // 2:
        return False
    return sources == [source for source, _ in all_edges(nodes)]


def nodes_of(pairs: Sequence[object], concat: object) -> list[int]:
    """Return the node that each edge of a cell enters."""
    if is_complete(pairs, concat):
        assert isinstance(concat, list | tuple | range)
        return [node for _, node in all_edges(max(concat) - 1)]
    return [index // 2 + 2 for index in range(len(pairs))]
