"""What can be said of a genotype of any space: how its parts are called, and how two differ."""

from __future__ import annotations

from collections import Counter
from typing import Any


def cell_name(genotype: Any, cell: str) -> str:
    """How people call a cell: ``normal cell``; where there is one kind, just its name."""
    return f"{cell} cell" if len(genotype.cells) > 1 else cell


def state_name(state: int, inputs: int = 2) -> str:
    """How people call a state of a cell.

    Of two inputs and what follows: ``c_{k-2}``, ``c_{k-1}``, then ``node 0``, ``node 1``, ...;
    a single input is ``node 0`` itself.
    """
    if inputs == 1:
        return f"node {state}"
    return ("c_{k-2}", "c_{k-1}")[state] if state < 2 else f"node {state - 2}"


def is_chain(genotype: Any, cell: str) -> bool:
    """Whether a cell is a row of operations, each on the output of the one before.

    The last one's output is the cell's.
    """
    places = [(source, target) for source, target, _ in genotype.edges(cell)]
    in_a_row = places == [(i, i + 1) for i in range(len(places))]
    last = tuple(genotype.concat(cell)) == (len(places),)
    return genotype.inputs == 1 and in_a_row and last


def difference(a: Any, b: Any) -> list[str]:
    """What distinguishes two genotypes, in words, edge by edge; empty if they are the same.

    The order of a node's edges and of a concatenation does not count.

    Raises:
        ValueError: for genotypes of different spaces.
    """
    check_comparable(a, b)
    lines: list[str] = []
    for cell in a.cells:
        name = cell_name(a, cell)
        if a.nodes(cell) != b.nodes(cell):
            lines.append(f"{name}: {a.nodes(cell)} nodes against {b.nodes(cell)}")
        for state in range(a.inputs, a.inputs + max(a.nodes(cell), b.nodes(cell))):
            ours, theirs = (
                Counter((source, op) for source, node, op in g.edges(cell) if node == state)
                for g in (a, b)
            )
            gone, new = (
                [_edge_words(a, cell, source, op) for source, op in sorted(c.elements())]
                for c in (ours - theirs, theirs - ours)
            )
            for index in range(max(len(gone), len(new))):
                left = gone[index] if index < len(gone) else "no edge"
                right = new[index] if index < len(new) else "no edge"
                lines.append(f"{name}, {state_name(state, a.inputs)}: {left} against {right}")
        left_out, right_out = sorted(a.concat(cell)), sorted(b.concat(cell))
        if left_out != right_out and not is_chain(a, cell):
            left, right = (
                ", ".join(state_name(state, a.inputs) for state in out)
                for out in (left_out, right_out)
            )
            lines.append(f"{name}, output: {left} against {right}")
    return lines


def check_comparable(a: Any, b: Any) -> None:
    """Raise ValueError unless two genotypes have the same kinds of cells."""
    if (a.cells, a.inputs) != (b.cells, b.inputs):
        raise ValueError(
            "genotypes of different spaces cannot be compared: "
            f"one has the cells {', '.join(a.cells)}, the other {', '.join(b.cells)}"
        )


def _edge_words(genotype: Any, cell: str, source: int, operation: str) -> str:
    """An edge without its target; in a chain the source goes without saying."""
    if is_chain(genotype, cell):
        return operation
    return f"{operation} from {state_name(source, genotype.inputs)}"
