"""The genotype of the cell-based space: which operations join which states of two cells.

A cell has two inputs (states 0 and 1: the outputs of the two cells before it) and some
intermediate nodes (states 2, 3, ...). Two edges enter each node, each carrying one operation from
an earlier state; the node is their sum, and the cell's output concatenates some of the nodes.

References:
    DARTS, arXiv:1806.09055, section 2.1 and figures 4-5. The two operations beyond its eight
    come from NASNet, arXiv:1707.07012, and AmoebaNet, arXiv:1802.01548.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from darts.spaces.genotype_text import SPACE, brief, checked, read_classic, read_json

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
"""The eight candidate operations of the DARTS supernet, in the order of its alphas."""

OPERATIONS: tuple[str, ...] = (*PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7", "noise")
"""Every operation that a genotype may name: the primitives, two that are only ever discrete, and
noise, a candidate of the subset S4."""

CELLS: tuple[str, ...] = ("normal", "reduce")


@dataclass(frozen=True)
class Genotype:
    """The normal and the reduction cell of an architecture.

    Attributes:
        normal: ``(operation, source)`` pairs of the normal cell, two a node: pairs ``2i`` and
            ``2i + 1`` enter node ``i``, which is state ``i + 2``. Lists are turned into tuples.
        normal_concat: the states, from 2 up, that the output concatenates, in that order.
        reduce: the same for the reduction cell, which may have another number of nodes.
        reduce_concat: the same for the reduction cell.

    Raises:
        ValueError: an unknown operation, an odd number of edges or none, a source that is not an
            earlier state, or an empty, repeated or impossible concatenation.
    """

    normal: tuple[tuple[str, int], ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[tuple[str, int], ...]
    reduce_concat: tuple[int, ...]

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = CELLS
    inputs: ClassVar[int] = 2  # states of a cell that are other cells' outputs

    def __post_init__(self) -> None:
        for cell in CELLS:
            edges = _check_edges(cell, getattr(self, cell))
            concat = _check_concat(cell, getattr(self, f"{cell}_concat"), len(edges) // 2)
            object.__setattr__(self, cell, edges)
            object.__setattr__(self, f"{cell}_concat", concat)

    def nodes(self, cell: str) -> int:
        """How many intermediate nodes the cell has (``ValueError`` for an unknown cell)."""
        return len(getattr(self, _check_cell(cell))) // 2

    def concat(self, cell: str) -> tuple[int, ...]:
        """The states that the cell's output concatenates."""
        states: tuple[int, ...] = getattr(self, f"{_check_cell(cell)}_concat")
        return states

    def edges(self, cell: str) -> list[tuple[int, int, str]]:
        """The cell's edges as ``(source state, target state, operation)``, in stored order."""
        pairs = getattr(self, _check_cell(cell))
        return [(source, index // 2 + 2, name) for index, (name, source) in enumerate(pairs)]

    def count(self, operation: str, cell: str | None = None) -> int:
        """How many edges carry the operation, in one cell or in both.

        Raises:
            ValueError: an unknown operation or cell.
        """
        if operation not in OPERATIONS:
            raise ValueError(_unknown_operation(operation))
        chosen = CELLS if cell is None else (_check_cell(cell),)
        return sum(name == operation for kind in chosen for name, _ in getattr(self, kind))

    def canonical(self) -> Genotype:
        """The same architecture with each node's edges by source, then name, and concats sorted.

        A node is a sum and the order of a concatenation only permutes channels, so two genotypes
        with the same canonical form describe the same family of functions.
        """
        parts: list[Any] = []
        for cell in CELLS:
            pairs = getattr(self, cell)
            by_node = (pairs[i : i + 2] for i in range(0, len(pairs), 2))
            ordered = (sorted(two, key=lambda edge: (edge[1], edge[0])) for two in by_node)
            parts += [[edge for two in ordered for edge in two], sorted(self.concat(cell))]
        return Genotype(*parts)

    def same_as(self, other: Genotype) -> bool:
        """Whether both describe the same architecture, whatever the order of a node's edges."""
        return self.canonical() == other.canonical()

    def to_json(self) -> str:
        """JSON text, one line a node; ``parse`` reads it back to an equal genotype."""
        lines = [f'  "space": "{SPACE}"']
        for cell in CELLS:
            pairs = getattr(self, cell)
            nodes = (pairs[i : i + 2] for i in range(0, len(pairs), 2))
            rows = ",\n".join(f"    {json.dumps(two)[1:-1]}" for two in nodes)
            lines.append(f'  "{cell}": [\n{rows}\n  ]')
            lines.append(f'  "{cell}_concat": {json.dumps(self.concat(cell))}')
        return "{\n" + ",\n".join(lines) + "\n}"

    def __str__(self) -> str:
        """The classic text, in one line; ``parse`` reads it back to an equal genotype."""
        parts = (f"{f.name}={list(getattr(self, f.name))!r}" for f in fields(self))
        return f"Genotype({', '.join(parts)})"

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Read JSON, or the classic ``Genotype(normal=[('sep_conv_3x3', 0), ...], ...)`` text.

        The classic text may be preceded by ``NAME =``, give its four parts by keyword or by
        position, and write a concatenation as ``range(2, 6)``. Nothing is ever evaluated.

        Raises:
            ValueError: anything else, with a message of one line.
        """
        text = checked(text)
        if not text:
            raise ValueError("empty text: expected a JSON object or Genotype(...)")
        return cls(**(read_json(text) if text[0] in '{["' else read_classic(text)))


def _unknown_operation(name: object) -> str:
    return f"unknown operation {brief(name)}; choose from {', '.join(OPERATIONS)}"


def _check_cell(cell: str) -> str:
    if cell not in CELLS:
        raise ValueError(f"unknown cell {brief(cell)}; choose from {', '.join(CELLS)}")
    return cell


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_edges(cell: str, pairs: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(pairs, (list, tuple)):
        raise ValueError(f"{cell} must list (operation, source) pairs, not {brief(pairs)}")
    if not pairs or len(pairs) % 2:
        raise ValueError(f"{cell} has {len(pairs)} edges; a cell needs two a node: 2, 4, 6, ...")
    checked: list[tuple[str, int]] = []
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(
                f"edge {index} of {cell} is {brief(pair)}, not an (operation, source) pair"
            )
        name, source = pair
        if not isinstance(name, str) or name not in OPERATIONS:
            raise ValueError(f"edge {index} of {cell}: {_unknown_operation(name)}")
        last = index // 2 + 1
        if not _is_int(source) or not 0 <= source <= last:
            raise ValueError(
                f"edge {index} of {cell}: source {brief(source)} is not a state from 0 to {last}"
            )
        checked.append((name, source))
    return tuple(checked)


def _check_concat(cell: str, states: object, nodes: int) -> tuple[int, ...]:
    if not isinstance(states, (list, tuple, range)) or len(states) == 0:
        raise ValueError(f"{cell}_concat must list at least one state, not {brief(states)}")
    for state in states:
        if not _is_int(state) or not 2 <= state <= nodes + 1:
            raise ValueError(
                f"{cell}_concat: {brief(state)} is not a node's state, from 2 to {nodes + 1}"
            )
    if len(set(states)) != len(states):
        raise ValueError(f"{cell}_concat names a state twice: {brief(list(states))}")
    return tuple(states)
