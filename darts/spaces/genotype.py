"""Genotype of the ``cnn`` space: the operations and connections of a normal and a reduction cell.

A cell has two inputs (states 0 and 1: the outputs of the two cells before it) and intermediate
nodes (states 2, 3, ...). Two edges enter each node; each edge applies one operation to an earlier
state. The node is the sum of both, and the cell's output concatenates some of the nodes. An edge
with the operation ``none`` does not exist, and a node without inputs is not concatenated, as in the
cells of Fair DARTS (arXiv:1911.12126).

In a complete cell, edges from all earlier states enter each node, as in the cells of SNAS
(arXiv:1812.09926). The edges are ordered by node, then source, so n > 1 nodes have n (n + 3) / 2;
the last node is among those that the output concatenates, from which n is read. (A cell with two
edges per node looks complete only if several of its last nodes are neither concatenated nor read.)

References:
    DARTS, arXiv:1806.09055, section 2.1 and figures 4-5. Two operations beyond the eight of DARTS
    come from NASNet, arXiv:1707.07012, and AmoebaNet, arXiv:1802.01548.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter
from typing import ClassVar, TypeAlias

from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.genotype_text import (
    check_edge,
    check_nodes,
    entries_of,
    read_genotype,
    write_json,
)

# The eight candidates of the DARTS supernet, in the order of the alphas' columns.
PRIMITIVES: tuple[str, ...] = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)

# All operations of genotypes: the primitives, two that occur in published genotypes only, and
# `noise`, a candidate of the candidate set S4.
OPERATIONS: tuple[str, ...] = (*PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7", "noise")

CELLS: tuple[str, ...] = ("normal", "reduce")

NONE = "none"

# `(operation, source)` of each edge of a cell.
Pairs: TypeAlias = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Genotype(AnyGenotype):
    """The normal and the reduction cell of an architecture.

    Attributes:
        normal: ``(operation, source)`` of each edge of the normal cell: pairs ``2i`` and ``2i + 1``
            enter node ``i``, which is state ``i + 2``; a complete cell lists all edges in the order
            of nodes and sources. Lists become tuples.
        normal_concat: The nodes (states from 2 up) that the output concatenates, in this order.
    """

    normal: Pairs
    normal_concat: tuple[int, ...]
    reduce: Pairs
    reduce_concat: tuple[int, ...]

    space: ClassVar[str] = "cnn"
    cells: ClassVar[tuple[str, ...]] = CELLS
    inputs: ClassVar[int] = 2
    vocabulary: ClassVar[tuple[str, ...]] = OPERATIONS

    def __post_init__(self) -> None:
        for cell in CELLS:
            concat = getattr(self, f"{cell}_concat")
            pairs = entries_of(cell, getattr(self, cell))
            if len(pairs) % 2 and not is_complete(pairs, concat):
                raise ValueError(
                    f"{cell} has {len(pairs)} edges; a cell needs two per node: 2, 4, 6, ..., or "
                    "all"
                )
            nodes = nodes_of(pairs, concat)
            edges = tuple(
                check_edge(f"edge {index} of {cell}", pair, self.vocabulary, node)
                for index, (pair, node) in enumerate(zip(pairs, nodes, strict=True))
            )
            concat = check_nodes(f"{cell}_concat", concat, 2, nodes[-1])
            object.__setattr__(self, cell, edges)
            object.__setattr__(self, f"{cell}_concat", concat)

    def concat(self, cell: str | None = None) -> tuple[int, ...]:
        states: tuple[int, ...] = getattr(self, f"{self.check_cell(cell)}_concat")
        return states

    def edges(self, cell: str | None = None) -> list[tuple[int, int, str]]:
        pairs: Pairs = getattr(self, self.check_cell(cell))
        nodes = nodes_of(pairs, self.concat(cell))
        return [(source, node, name) for (name, source), node in zip(pairs, nodes, strict=True)]

    def canonical(self) -> Genotype:
        """Return the genotype with the edges of each node and the concatenations sorted.

        A node is a sum, and the order of a concatenation only permutes channels, so two genotypes
        with equal canonical forms describe the same family of functions.
        """
        cells: list[tuple[Pairs, tuple[int, ...]]] = []
        for cell in CELLS:
            edges: Pairs = getattr(self, cell)
            if not is_complete(edges, self.concat(cell)):
                # An edge with the operation "none" does not exist, whatever its source is.
                pairs = [(op, 0 if op == NONE else source) for op, source in edges]
                nodes = (pairs[i : i + 2] for i in range(0, len(pairs), 2))
                edges = tuple(e for node in nodes for e in sorted(node, key=lambda e: (e[1], e[0])))
            cells.append((edges, tuple(sorted(self.concat(cell)))))
        return Genotype(*cells[0], *cells[1])

    def to_json(self) -> str:
        """Return JSON text with one line per node."""
        values: dict[str, object] = {}
        for cell in CELLS:
            by_node = groupby(self.edges(cell), itemgetter(1))
            values[cell] = [[(op, source) for source, _, op in edges] for _, edges in by_node]
            values[f"{cell}_concat"] = self.concat(cell)
        return write_json(self.space, values)

    def __str__(self) -> str:
        """Return the classic text in one line; ``parse`` turns it into an equal genotype."""
        arguments = (f"{f.name}={list(getattr(self, f.name))!r}" for f in fields(self))
        return f"Genotype({', '.join(arguments)})"

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Parse JSON or the classic ``Genotype(normal=[('sep_conv_3x3', 0), ...], ...)`` text.

        The classic text may be preceded by ``NAME =``, give its four fields by keyword or by
        position, and write a concatenation as ``range(2, 6)``. The text is parsed, never evaluated.
        """
        return cls(**read_genotype(text, cls.space, [field.name for field in fields(cls)]))


def drop_edges(
    pairs: Pairs, concat: Sequence[int], kept: Sequence[bool]
) -> tuple[Pairs, tuple[int, ...]]:
    """Return the edges and outputs of a cell without some edges, and without what depends on them.

    Nodes without inputs disappear, and so do the edges that leave them: ``none`` replaces their
    operations. The outputs are empty if no concatenated node has an input.
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
    """Return ``(source, node)`` of all edges of a cell, by node, then source: 14 for 4 nodes."""
    return [(source, node) for node in range(2, nodes + 2) for source in range(node)]


def is_complete(pairs: Sequence[object], concat: object) -> bool:
    """Return whether a cell lists the edges from all earlier states; values may be unchecked."""
    states = concat if isinstance(concat, list | tuple | range) else ()
    nodes = max((state for state in states if type(state) is int and state < 1000), default=0) - 1
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
