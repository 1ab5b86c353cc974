"""Genotypes of the recurrent space: the activation and the source of each node of a cell.

State 0 of a cell depends on the cell's input and its previous output. Each node applies one
activation to one earlier state, and the cell's output is the mean of some nodes.

References:
    DARTS, arXiv:1806.09055, section 3.1 and figure 6; ENAS, arXiv:1802.03268, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.genotype_text import (
    check_edge,
    check_nodes,
    entries_of,
    read_genotype,
    write_json,
)

# The candidates of each edge of the supernet, in the order of the alphas' columns.
PRIMITIVES: tuple[str, ...] = ("none", "tanh", "relu", "sigmoid", "identity")

# The activations that a genotype may use.
ACTIVATIONS: tuple[str, ...] = PRIMITIVES[1:]

# The only group of alphas.
GROUP = "recurrent"

# Finds classic text that describes a recurrent cell, valid or not.
CLASSIC_PATTERN = (
    rf"Genotype\(\s*(recurrent\s*=|concat\s*=|[\[(]\s*[\[(]\s*['\"]({'|'.join(ACTIVATIONS)})['\"])"
)


def edges_of(nodes: int) -> tuple[tuple[int, int], ...]:
    """Return ``(source, target)`` of each edge of the supernet, by target, then by source."""
    return tuple((source, node) for node in range(1, nodes + 1) for source in range(node))


@dataclass(frozen=True, init=False, repr=False)
class Genotype(AnyGenotype):
    """A recurrent cell.

    Args:
        recurrent: ``(activation, source)`` of each node; the first node is state 1, and a source is
            an earlier state. Lists are converted to tuples.
        concat: The states, from 1, whose mean is the cell's output. The published
            code uses this name; nothing is concatenated.
    """

    recurrent: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]

    space: ClassVar[str] = "recurrent"
    cells: ClassVar[tuple[str, ...]] = ("recurrent",)
    inputs: ClassVar[int] = 1
    vocabulary: ClassVar[tuple[str, ...]] = PRIMITIVES
    recurs: ClassVar[bool] = True  # the cell's output is its own input at the next step

    def __init__(self, recurrent: object, concat: object) -> None:
        nodes = tuple(
            check_edge(f"node {node}", pair, ACTIVATIONS, node)
            for node, pair in enumerate(entries_of("recurrent", recurrent), 1)
        )
        object.__setattr__(self, "recurrent", nodes)
        object.__setattr__(self, "outputs", check_nodes("concat", concat, 1, len(nodes)))

    def concat(self, cell: str | None = None) -> tuple[int, ...]:
        self.check_cell(cell)
        return self.outputs

    def edges(self, cell: str | None = None) -> list[tuple[int, int, str]]:
        self.check_cell(cell)
        return [(source, node, name) for node, (name, source) in enumerate(self.recurrent, 1)]

    def canonical(self) -> Genotype:
        """Return the same architecture with sorted outputs; their mean ignores the order."""
        return Genotype(self.recurrent, sorted(self.outputs))

    def to_json(self) -> str:
        rows = [[node] for node in self.recurrent]
        return write_json(self.space, {"recurrent": rows, "concat": self.outputs})

    def __str__(self) -> str:
        first, last = self.outputs[0], self.outputs[-1]
        consecutive = self.outputs == tuple(range(first, last + 1))
        concat = f"range({first}, {last + 1})" if consecutive else f"{list(self.outputs)!r}"
        return f"Genotype(recurrent={list(self.recurrent)!r}, concat={concat})"

    __repr__ = __str__

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Parse JSON, or text ``Genotype(recurrent=[("tanh", 0), ...], concat=[1, ...])``."""
        return cls(**read_genotype(text, cls.space, ("recurrent", "concat")))
