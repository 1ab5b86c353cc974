"""Genotypes of the recurrent space: the activation and the source of each node of a cell.

State 0 of a cell depends on the cell's input and its previous output. Each node applies one
activation to one earlier state, and the cell's output is the mean of some nodes.

References:
    DARTS, arXiv:1806.09055, section 3.1 and figure 6; ENAS, arXiv:1802.03268, section 2.1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.genotype_text import is_integer, read_classic, read_json, short_repr, strip_text

SPACE = "recurrent"
"""The value of ``"space"`` in a genotype's JSON."""

PRIMITIVES: tuple[str, ...] = ("none", "tanh", "relu", "sigmoid", "identity")
"""The candidates of each edge of the supernet, in the order of the alphas' columns."""

ACTIVATIONS: tuple[str, ...] = PRIMITIVES[1:]
"""The activations that a genotype may use."""

_FIELDS = ("recurrent", "concat")
_CLASSIC_PATTERN = re.compile(
    rf"Genotype\(\s*(recurrent\s*=|concat\s*=|[\[(]\s*[\[(]\s*['\"]({'|'.join(ACTIVATIONS)})['\"])"
)


@dataclass(frozen=True, init=False, repr=False)
class Genotype(AnyGenotype):
    """A recurrent cell.

    Args:
        recurrent: ``(activation, source)`` of each node; the first node is state 1, and a source is
            an earlier state. Lists are converted to tuples.
        concat: The states, from 1, whose mean is the cell's output. The name is that of the
            published code; nothing is concatenated.

    Attributes:
        outputs: ``concat`` as a tuple.

    Raises:
        ValueError: No node, an unknown activation, a source that is not an earlier state, or
            outputs that are empty, repeated or not nodes.
    """

    recurrent: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = ("recurrent",)
    inputs: ClassVar[int] = 1
    vocabulary: ClassVar[tuple[str, ...]] = PRIMITIVES
    recurs: ClassVar[bool] = True  # the cell's output is its own input at the next step

    def __init__(self, recurrent: object, concat: object) -> None:
        nodes = _check_nodes(recurrent)
        object.__setattr__(self, "recurrent", nodes)
        object.__setattr__(self, "outputs", _check_outputs(concat, len(nodes)))

    def nodes(self, cell: str = "recurrent") -> int:
        """Return the number of nodes, without state 0 (``ValueError`` for an unknown cell)."""
        self.check_cell(cell)
        return len(self.recurrent)

    def concat(self, cell: str = "recurrent") -> tuple[int, ...]:
        """Return the states whose mean is the cell's output."""
        self.check_cell(cell)
        return self.outputs

    def edges(self, cell: str = "recurrent") -> list[tuple[int, int, str]]:
        """Return ``(source state, target state, activation)`` of each node."""
        self.check_cell(cell)
        return [(source, node, name) for node, (name, source) in enumerate(self.recurrent, 1)]

    def canonical(self) -> Genotype:
        """Return the same architecture with sorted outputs; their mean ignores the order."""
        return Genotype(self.recurrent, sorted(self.outputs))

    def to_json(self) -> str:
        rows = ",\n".join(f"    {json.dumps(node)}" for node in self.recurrent)
        return (
            f'{{\n  "space": "{SPACE}",\n  "recurrent": [\n{rows}\n  ],\n'
            f'  "concat": {json.dumps(self.outputs)}\n}}'
        )

    def __str__(self) -> str:
        """Return the classic text in one line; ``parse`` is the inverse."""
        first, last = self.outputs[0], self.outputs[-1]
        consecutive = self.outputs == tuple(range(first, last + 1))
        concat = f"range({first}, {last + 1})" if consecutive else f"{list(self.outputs)!r}"
        return f"Genotype(recurrent={list(self.recurrent)!r}, concat={concat})"

    __repr__ = __str__

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Parse JSON, or classic ``Genotype(recurrent=[("tanh", 0), ...], concat=[1, ...])`` text.

        Classic text may start with ``NAME =``, pass its arguments by keyword or by position, and
        give the outputs as a list or as ``range(...)``. No text is ever evaluated.

        Raises:
            ValueError: The text is no recurrent cell; the message has one line.
        """
        text = strip_text(text)
        if not text:
            raise ValueError("empty text: expected a JSON object or Genotype(...)")
        if text[0] in '{["':
            return cls(**read_json(text, SPACE, _FIELDS))
        return cls(**read_classic(text, _FIELDS))


def is_classic(text: str) -> bool:
    """Return whether ``Genotype(...)`` text describes a recurrent cell, valid or not."""
    return _CLASSIC_PATTERN.search(text) is not None


def _check_nodes(pairs: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise ValueError(
            "recurrent must list the (activation, source) pair of at least one node, not "
            f"{short_repr(pairs)}"
        )
    nodes: list[tuple[str, int]] = []
    for node, pair in enumerate(pairs, 1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"node {node} is {short_repr(pair)}, not an (activation, source) pair")
        name, source = pair
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise ValueError(
                f"node {node}: unknown activation {short_repr(name)}; choose from "
                f"{', '.join(ACTIVATIONS)}"
            )
        if not is_integer(source) or not 0 <= source < node:
            raise ValueError(
                f"node {node}: source {short_repr(source)} must be a state from 0 to {node - 1}"
            )
        nodes.append((name, source))
    return tuple(nodes)


def _check_outputs(states: object, nodes: int) -> tuple[int, ...]:
    if not isinstance(states, (list, tuple, range)) or len(states) == 0:
        raise ValueError(f"concat must list at least one state, not {short_repr(states)}")
    for state in states:
        if not is_integer(state) or not 1 <= state <= nodes:
            raise ValueError(f"concat: {short_repr(state)} must be a node from 1 to {nodes}")
    if len(set(states)) != len(states):
        raise ValueError(f"concat contains a node twice: {short_repr(list(states))}")
    return tuple(states)
