"""Cells of the ``cnn`` space in which nodes have fewer or more than two inputs.

A cell has two edges per node, or it is complete: it lists an edge from every earlier state into
each node, ordered by node, then source, and ``none`` marks those that do not exist. A complete cell
of n > 1 nodes has n (n + 3) / 2 edges; its last node is among those that it concatenates, from
which n is read. (A cell with two edges per node looks complete only if several of its last nodes
are neither concatenated nor read.)

In cells with two edges per node, ``none`` also marks a missing edge, and a node without inputs is
not concatenated. Published cells of Fair DARTS (arXiv:1911.12126) list only the
edges that exist, as triples ``(operation, node, source)``; their nodes without inputs do not exist,
and an edge from such a node is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

from darts.spaces.genotype_text import check_nodes, entries_of, is_integer, short_repr

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


def is_sparse(cell: object) -> bool:
    """Return whether a cell is a list with at least one triple."""
    return isinstance(cell, list | tuple) and any(
        isinstance(item, list | tuple) and len(item) == 3 for item in cell
    )


def read_triples(
    name: str, triples: Sequence[object], concat: object
) -> tuple[Pairs, tuple[int, ...]]:
    """Return the edges and the concatenated nodes of a cell that is given as triples.

    Args:
        name: Name of the cell, for messages.
        triples: ``(operation, node, source)`` of each edge; at most two into each node.
    """
    nodes: dict[int, list[tuple[str, int]]] = {}
    for index, item in enumerate(triples):
        place = f"edge {index} of {name}"
        if not isinstance(item, list | tuple) or len(item) != 3:
            raise ValueError(
                f"{place} is {short_repr(item)}, not an (operation, node, source) triple"
            )
        operation, node, source = item
        check_nodes(place, [node], 2, len(triples) + 5)
        if any(source == other for _, other in nodes.get(node, [])):
            raise ValueError(f"{place}: node {node} reads state {short_repr(source)} twice")
        nodes.setdefault(node, []).append((operation, source))
        if len(nodes[node]) > 2:
            raise ValueError(f"{place}: node {node} has more than two inputs")
    states = entries_of(f"{name}_concat", concat)
    last = max([*nodes, *(node for node in states if is_integer(node) and node < 100)])
    pairs: list[tuple[str, int]] = []
    for node in range(2, last + 1):
        entering = nodes.get(node, [])
        unused = [source for source in (0, 1) if source not in [s for _, s in entering]]
        pairs += [*entering, *((NONE, source) for source in unused)][:2]
    edges, existing = drop_edges(tuple(pairs), states, [True] * len(pairs))
    if not existing:
        raise ValueError(f"{name}: no concatenated node has an input")
    return edges, existing
