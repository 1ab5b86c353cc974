"""The genotype of the recurrent space: predecessor and activation of each node of a recurrent cell.

State 0 of a cell is made of its input and of what it put out a step before. Each node after it
takes in one earlier state through one activation, and the cell puts out the mean of some nodes.

References:
    DARTS, arXiv:1806.09055, section 3.1 and figure 6; ENAS, arXiv:1802.03268, section 2.1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.genotype_text import brief, checked, read_classic, read_json

SPACE = "recurrent"
"""The ``"space"`` that a genotype's JSON names."""

PRIMITIVES: tuple[str, ...] = ("none", "tanh", "relu", "sigmoid", "identity")
"""The candidates of each edge of the supernet, in the order of the alphas' columns."""

ACTIVATIONS: tuple[str, ...] = PRIMITIVES[1:]
"""What a node of a genotype may carry."""

_PARTS = ("recurrent", "concat")
_OWN_TEXT = re.compile(
    rf"Genotype\(\s*(recurrent\s*=|concat\s*=|[\[(]\s*[\[(]\s*['\"]({'|'.join(ACTIVATIONS)})['\"])"
)


@dataclass(frozen=True, init=False, repr=False)
class Genotype:
    """A recurrent cell.

    Args:
        recurrent: ``(activation, source)`` of each node: the first is state 1, and a source is an
            earlier state. Lists are turned into tuples.
        concat: the states, from 1 up, whose mean the cell puts out. The word is that of the
            published code; nothing is concatenated.

    Attributes:
        recurrent: as given.
        outputs: ``concat`` as a tuple.

    Raises:
        ValueError: no node, an unknown activation, a source that is not an earlier state, or an
            empty, repeated or impossible list of outputs.
    """

    recurrent: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = ("recurrent",)
    inputs: ClassVar[int] = 1
    recurs: ClassVar[bool] = True  # a cell's output is an input of itself, a step later

    def __init__(self, recurrent: object, concat: object) -> None:
        nodes = _check_nodes(recurrent)
        object.__setattr__(self, "recurrent", nodes)
        object.__setattr__(self, "outputs", _check_outputs(concat, len(nodes)))

    def nodes(self, cell: str = "recurrent") -> int:
        """How many nodes follow state 0 (``ValueError`` for an unknown cell)."""
        _check_cell(cell)
        return len(self.recurrent)

    def concat(self, cell: str = "recurrent") -> tuple[int, ...]:
        """The states whose mean is the cell's output."""
        _check_cell(cell)
        return self.outputs

    def edges(self, cell: str = "recurrent") -> list[tuple[int, int, str]]:
        """``(source state, target state, activation)`` of each node."""
        _check_cell(cell)
        return [(source, n, name) for n, (name, source) in enumerate(self.recurrent, 1)]

    def count(self, operation: str, cell: str | None = None) -> int:
        """How many nodes have the activation.

        Raises:
            ValueError: an unknown activation or cell.
        """
        if operation not in PRIMITIVES:
            raise ValueError(_unknown_activation(operation))
        if cell is not None:
            _check_cell(cell)
        return sum(name == operation for name, _ in self.recurrent)

    def canonical(self) -> Genotype:
        """The same architecture with its outputs in order: a mean does not depend on it."""
        return Genotype(self.recurrent, sorted(self.outputs))

    def same_as(self, other: Genotype) -> bool:
        """Whether both describe the same architecture, whatever the order of the outputs."""
        return self.canonical() == other.canonical()

    def to_json(self) -> str:
        """JSON text, one line a node; ``parse`` reads it back to an equal genotype."""
        rows = ",\n".join(f"    {json.dumps(node)}" for node in self.recurrent)
        return (
            f'{{\n  "space": "{SPACE}",\n  "recurrent": [\n{rows}\n  ],\n'
            f'  "concat": {json.dumps(self.outputs)}\n}}'
        )

    def __str__(self) -> str:
        """The classic text, in one line; ``parse`` reads it back to an equal genotype."""
        return f"Genotype(recurrent={list(self.recurrent)!r}, concat={_outputs_text(self.outputs)})"

    __repr__ = __str__

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Read JSON, or the classic ``Genotype(recurrent=[('tanh', 0), ...], concat=range(1, 9))``.

        The classic text may be preceded by ``NAME =``, give its parts by keyword or by position,
        and write its outputs as a list. Nothing is ever evaluated.

        Raises:
            ValueError: anything else, with a message of one line.
        """
        text = checked(text)
        if not text:
            raise ValueError("empty text: expected a JSON object or Genotype(...)")
        if text[0] in '{["':
            return cls(**read_json(text, SPACE, _PARTS))
        return cls(**read_classic(text, _PARTS))


def is_classic(text: str) -> bool:
    """Whether a ``Genotype(...)`` is one of a recurrent cell, right or wrong."""
    return _OWN_TEXT.search(text) is not None


def _outputs_text(states: tuple[int, ...]) -> str:
    whole = tuple(range(states[0], states[0] + len(states)))
    return f"range({whole[0]}, {whole[-1] + 1})" if states == whole else repr(list(states))


def _unknown_activation(name: object) -> str:
    return f"unknown activation {brief(name)}; choose from {', '.join(ACTIVATIONS)}"


def _check_cell(cell: object) -> None:
    if cell not in Genotype.cells:
        raise ValueError(f"unknown cell {brief(cell)}; choose from {', '.join(Genotype.cells)}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_nodes(pairs: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise ValueError(
            f"recurrent must list the (activation, source) of at least one node, not {brief(pairs)}"
        )
    found: list[tuple[str, int]] = []
    for node, pair in enumerate(pairs, 1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"node {node} is {brief(pair)}, not an (activation, source) pair")
        name, source = pair
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise ValueError(f"node {node}: {_unknown_activation(name)}")
        if not _is_int(source) or not 0 <= source < node:
            raise ValueError(
                f"node {node}: source {brief(source)} is not a state from 0 to {node - 1}"
            )
        found.append((name, source))
    return tuple(found)


def _check_outputs(states: object, nodes: int) -> tuple[int, ...]:
    if not isinstance(states, (list, tuple, range)) or len(states) == 0:
        raise ValueError(f"concat must list at least one state, not {brief(states)}")
    for state in states:
        if not _is_int(state) or not 1 <= state <= nodes:
            raise ValueError(f"concat: {brief(state)} is not a node, from 1 to {nodes}")
    if len(set(states)) != len(states):
        raise ValueError(f"concat names a node twice: {brief(list(states))}")
    return tuple(states)
