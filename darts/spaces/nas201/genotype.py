"""The genotype of the NAS-Bench-201 space: one operation on each of the six edges of a cell.

A cell has four nodes. Node 0 is its input, every later node sums the edges from all nodes before
it, and node 3 is its output. All cells of a network are alike.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.genotype_text import MAX_CHARACTERS, brief, checked, read_part

SPACE = "nas201"
"""The ``"space"`` that a genotype's JSON names."""

PRIMITIVES: tuple[str, ...] = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)
"""The five candidate operations, in the order of the alphas' columns."""

NODES = 4
EDGES: tuple[tuple[int, int], ...] = tuple((s, t) for t in range(1, NODES) for s in range(t))
"""``(source, target)`` of each edge, node by node and input by input."""

ARCHITECTURES = len(PRIMITIVES) ** len(EDGES)
"""How many genotypes there are: 15,625."""

_FORM = re.compile(
    r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|", flags=re.ASCII
)


LEAVING = [[n for n, (source, _) in enumerate(EDGES) if source == s] for s in range(NODES - 1)]
"""Numbers of the edges that leave each node but the last, by target."""


@dataclass(frozen=True)
class Genotype:
    """An architecture of the benchmark.

    Attributes:
        arch: the benchmark's own text, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``: a group a node,
            and in it the operation from each node before it. Spaces are taken out.

    Raises:
        ValueError: for a text of another form or an unknown operation.
    """

    arch: str

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = ("cell",)
    inputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.arch, str):
            raise ValueError(f"an architecture is a text, not {brief(self.arch)}")
        if len(self.arch) > MAX_CHARACTERS:
            raise ValueError(
                f"a genotype's text has at most {MAX_CHARACTERS} characters, not {len(self.arch)}"
            )
        arch = "".join(self.arch.split())
        form = _FORM.fullmatch(arch)
        if form is None:
            raise ValueError(
                f"{brief(self.arch)} is no NAS-Bench-201 architecture, which reads "
                "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
            )
        for name in form.groups():
            _check_operation(name)
        object.__setattr__(self, "arch", arch)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operation of each edge, in the order of ``EDGES``."""
        form = _FORM.fullmatch(self.arch)
        assert form is not None
        return form.groups()

    @property
    def index(self) -> int:
        """Its number from 0 to 15,624.

        The operations' places in ``PRIMITIVES`` are the digits of that number to the base 5, the
        first edge's the most significant. It is not the number in the benchmark's own files.
        """
        number = 0
        for name in self.operations:
            number = number * len(PRIMITIVES) + PRIMITIVES.index(name)
        return number

    @classmethod
    def from_index(cls, index: int) -> Genotype:
        """The genotype of that ``index``.

        Raises:
            ValueError: for anything but a whole number from 0 to 15,624.
        """
        whole = isinstance(index, int) and not isinstance(index, bool)
        if not whole or not 0 <= index < ARCHITECTURES:
            raise ValueError(
                f"index must be a whole number from 0 to {ARCHITECTURES - 1}, not {brief(index)}"
            )
        digits: list[int] = []
        for _ in EDGES:
            index, digit = divmod(index, len(PRIMITIVES))
            digits.insert(0, digit)
        return cls.of(*(PRIMITIVES[digit] for digit in digits))

    @classmethod
    def of(cls, *operations: str) -> Genotype:
        """The genotype with these operations, one an edge in the order of ``EDGES``.

        Raises:
            ValueError: for an unknown operation, or another number of them.
        """
        if len(operations) != len(EDGES):
            raise ValueError(f"a cell has {len(EDGES)} edges, not {len(operations)}")
        for name in operations:
            _check_operation(name)
        nodes: dict[int, str] = {}
        for (source, target), name in zip(EDGES, operations, strict=True):
            nodes[target] = nodes.get(target, "|") + f"{name}~{source}|"
        return cls("+".join(nodes.values()))

    def nodes(self, cell: str = "cell") -> int:
        """How many nodes beside its input the cell has (``ValueError`` for an unknown cell)."""
        _check_cell(cell)
        return NODES - 1

    def concat(self, cell: str = "cell") -> tuple[int, ...]:
        """The nodes that make the cell's output: the last alone."""
        _check_cell(cell)
        return (NODES - 1,)

    def edges(self, cell: str = "cell") -> list[tuple[int, int, str]]:
        """The cell's edges as ``(source node, target node, operation)``, those of none too."""
        _check_cell(cell)
        return [(s, t, name) for (s, t), name in zip(EDGES, self.operations, strict=True)]

    def count(self, operation: str, cell: str | None = None) -> int:
        """How many edges carry the operation.

        Raises:
            ValueError: an unknown operation or cell.
        """
        _check_operation(operation)
        if cell is not None:
            _check_cell(cell)
        return self.operations.count(operation)

    def canonical(self) -> Genotype:
        """Itself: a genotype can be written in one way only."""
        return self

    def same_as(self, other: object) -> bool:
        """Whether both describe the same architecture."""
        return self == other

    def to_json(self) -> str:
        """JSON text; ``parse`` reads it back to an equal genotype."""
        return f'{{\n  "space": "{SPACE}",\n  "arch": {json.dumps(self.arch)}\n}}'

    def __str__(self) -> str:
        """The benchmark's text; ``parse`` reads it back to an equal genotype."""
        return self.arch

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Read the benchmark's text, or ``{"space": "nas201", "arch": "|..."}``.

        Raises:
            ValueError: anything else, with a message of one line.
        """
        text = checked(text)
        if not text:
            raise ValueError("empty text: expected a JSON object or an architecture of |op~0|+...")
        return cls(read_part(text, SPACE, "arch") if text[0] in '{["' else text)


def _check_operation(name: object) -> None:
    if not isinstance(name, str) or name not in PRIMITIVES:
        raise ValueError(f"unknown operation {brief(name)}; choose from {', '.join(PRIMITIVES)}")


def _check_cell(cell: object) -> None:
    if cell not in Genotype.cells:
        raise ValueError(f"unknown cell {brief(cell)}; choose from {', '.join(Genotype.cells)}")
