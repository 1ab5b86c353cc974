"""Descriptions of genotypes of any space: names of states, and differences."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest

from darts.spaces.any_genotype import AnyGenotype


def state_name(state: int, inputs: int = 2) -> str:
    """Return the display name of a state: ``node 0``, ``node 1``, ...

    In cells with two inputs, ``c_{k-2}`` and ``c_{k-1}`` come first.
    """
    if inputs == 1:
        return f"node {state}"
    return ("c_{k-2}", "c_{k-1}")[state] if state < 2 else f"node {state - 2}"


def is_chain(genotype: AnyGenotype, cell: str) -> bool:
    """Return whether a cell is a sequence of operations whose last state is the output."""
    connections = [(source, target) for source, target, _ in genotype.edges(cell)]
    in_sequence = connections == [(i, i + 1) for i in range(len(connections))]
    last = tuple(genotype.concat(cell)) == (len(connections),)
    return genotype.inputs == 1 and in_sequence and last


def difference(a: AnyGenotype, b: AnyGenotype) -> list[str]:
    """Return a line per difference of two genotypes of a space.

    The order of edges and outputs is ignored.
    """
    a, b = a.canonical(), b.canonical()
    return [line for cell in a.cells for line in _cell_difference(a, b, cell)]


def _cell_difference(a: AnyGenotype, b: AnyGenotype, cell: str) -> list[str]:
    lines: list[str] = []
    name = f"{cell} cell" if len(a.cells) > 1 else cell
    if a.nodes(cell) != b.nodes(cell):
        lines.append(f"{name}: {a.nodes(cell)} nodes vs. {b.nodes(cell)}")
    for state in range(a.inputs, a.inputs + max(a.nodes(cell), b.nodes(cell))):
        in_a, in_b = (
            Counter((source, op) for source, node, op in g.edges(cell) if node == state)
            for g in (a, b)
        )
        only_a, only_b = (
            [_edge_name(a, cell, source, op) for source, op in sorted(counter.elements())]
            for counter in (in_a - in_b, in_b - in_a)
        )
        for left, right in zip_longest(only_a, only_b, fillvalue="no edge"):
            lines.append(f"{name}, {state_name(state, a.inputs)}: {left} vs. {right}")
    outputs_a, outputs_b = sorted(a.concat(cell)), sorted(b.concat(cell))
    if outputs_a != outputs_b and not is_chain(a, cell):
        left, right = (
            ", ".join(state_name(state, a.inputs) for state in outputs)
            for outputs in (outputs_a, outputs_b)
        )
        lines.append(f"{name}, output: {left} vs. {right}")
    return lines


def _edge_name(genotype: AnyGenotype, cell: str, source: int, operation: str) -> str:
    """Return the display name of an edge without its target; in a chain, without its source."""
    if is_chain(genotype, cell):
        return operation
    return f"{operation} from {state_name(source, genotype.inputs)}"
