"""Genotype of the ``nas201`` space: the operation on each of the six edges of a cell.

A cell has four nodes. Node 0 is its input, every later node is the sum of the edges from all nodes
before it, and node 3 is its output. All cells of a network have the same operations.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.genotype_text import is_json, read_json, short_repr, strip_text, write_json

# The five candidates, in the order of the alphas' columns.
PRIMITIVES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

ZEROS, SKIP = "none", "skip_connect"
CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")

NODES = 4
# `(source, target)` of each edge, ordered by target, then source.
EDGES: tuple[tuple[int, int], ...] = tuple((s, t) for t in range(1, NODES) for s in range(t))

_SHAPE = (len(PRIMITIVES),) * len(EDGES)

# Indices of the edges that leave each node except the last, ordered by target.
OUTGOING = [[n for n, (source, _) in enumerate(EDGES) if source == s] for s in range(NODES - 1)]

_NOTATION = re.compile(
    r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|", flags=re.ASCII
)


@dataclass(frozen=True)
class Genotype(AnyGenotype):
    """An architecture of the benchmark.

    Attributes:
        arch: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``: for each node the operation from each node
            before it. Spaces are removed.
    """

    arch: str

    space: ClassVar[str] = "nas201"
    cells: ClassVar[tuple[str, ...]] = ("cell",)
    inputs: ClassVar[int] = 1
    vocabulary: ClassVar[tuple[str, ...]] = PRIMITIVES

    def __post_init__(self) -> None:
        arch = "".join(strip_text(self.arch).split())
        match = _NOTATION.fullmatch(arch)
        if match is None:
            raise ValueError(
                f"{short_repr(self.arch)} is not a NAS-Bench-201 architecture; the notation is "
                "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
            )
        for name in match.groups():
            self.check_operation(name)
        object.__setattr__(self, "arch", arch)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operation of each edge, in the order of ``EDGES``."""
        return tuple(re.findall(r"(\w+)~", self.arch))

    @property
    def index(self) -> int:
        """Index from 0 to 15,624; the benchmark's own files use other indices.

        Its base-5 digits are the positions of the operations in ``PRIMITIVES``, in the order of
        ``EDGES`` from the most significant digit.
        """
        digits = [PRIMITIVES.index(name) for name in self.operations]
        return int(np.ravel_multi_index(digits, _SHAPE))

    @classmethod
    def from_index(cls, index: int) -> Genotype:
        """Return the genotype with an ``index`` (``ValueError`` for one out of range)."""
        return cls.from_operations(
            *(PRIMITIVES[digit] for digit in np.unravel_index(index, _SHAPE))
        )

    @classmethod
    def from_operations(cls, *operations: str) -> Genotype:
        """Return the genotype with these operations, one per edge in the order of ``EDGES``."""
        nodes: dict[int, str] = {}
        for (source, target), name in zip(EDGES, operations, strict=True):
            nodes[target] = nodes.get(target, "|") + f"{name}~{source}|"
        return cls("+".join(nodes.values()))

    def simplified(self) -> Genotype:
        """Return the genotype with ``none`` in place of all operations without effect."""
        edges = dict(zip(EDGES, self.operations, strict=True))
        paths, onward = _count_paths(edges)
        return self.from_operations(
            *(
                name if paths[source] and onward[target] else ZEROS
                for (source, target), name in edges.items()
            )
        )

    @property
    def function(self) -> str:
        """The output of the cell as a sum of nested operations, without skip connections.

        How many paths pass through each convolution distinguishes a convolution whose output is
        used twice from two convolutions.
        """
        edges = dict(zip(EDGES, self.simplified().operations, strict=True))
        terms: list[list[str]] = [["x"]]  # of each node
        for target in range(1, NODES):
            own: list[str] = []
            for source in range(target):
                name = edges[source, target]
                if name == SKIP:
                    own += terms[source]
                elif name != ZEROS:
                    own.append(f"{name}({'+'.join(terms[source])})")
            terms.append(sorted(own))
        paths, onward = _count_paths(edges)
        shared = sorted(
            f"{name} on {paths[source] * onward[target]}"
            for (source, target), name in edges.items()
            if name in CONVOLUTIONS
        )
        return f"{'+'.join(terms[-1])}; {', '.join(shared)}"

    def edges(self, cell: str | None = None) -> list[tuple[int, int, str]]:
        self.check_cell(cell)
        return [(s, t, name) for (s, t), name in zip(EDGES, self.operations, strict=True)]

    def to_json(self) -> str:
        return write_json(self.space, {"arch": self.arch})

    def __str__(self) -> str:
        """Return the benchmark's notation."""
        return self.arch

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Parse the benchmark's notation, or ``{"space": "nas201", "arch": "|..."}``."""
        text = strip_text(text)
        return cls(read_json(text, cls.space, ("arch",))["arch"] if is_json(text) else text)


def _count_paths(edges: Mapping[tuple[int, int], str]) -> tuple[list[int], list[int]]:
    """Return the number of paths from the input to each node, and from each node to the output."""
    paths, onward = [1] + [0] * (NODES - 1), [0] * (NODES - 1) + [1]
    for source, target in EDGES:  # ordered by target
        paths[target] += paths[source] * (edges[source, target] != ZEROS)
    for source, target in reversed(EDGES):
        onward[source] += onward[target] * (edges[source, target] != ZEROS)
    return paths, onward
