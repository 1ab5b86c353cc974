"""The genotype of the macro space: the operation of each block, from the stem to the head.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 4.1: kernels and expansions of inverted
    residual blocks, and skipping a block makes the network less deep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.genotype_text import brief, checked, read_part

SPACE = "macro"
"""The ``"space"`` that a genotype's JSON names."""

STAGES = 3

PRIMITIVES: tuple[str, ...] = (
    "mb_k3_e3",
    "mb_k3_e6",
    "mb_k5_e3",
    "mb_k5_e6",
    "mb_k7_e3",
    "mb_k7_e6",
    "skip_connect",
)
"""The candidate operations in the order of the alphas' columns: inverted residual blocks with a
kernel of 3, 5 or 7 and an expansion of 3 or 6; and none at all, but not at the start of a stage."""


@dataclass(frozen=True)
class Genotype:
    """A network of three stages with as many blocks each.

    State 0 of the chain is what the stem puts out, and state ``i + 1`` what block ``i`` does.

    Attributes:
        blocks: the operation of each block. Lists are turned into tuples.

    Raises:
        ValueError: an unknown operation, a number of blocks that three stages cannot share, or a
            skipped block at the start of a stage, where width or size may change.
    """

    blocks: tuple[str, ...]

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = ("blocks",)
    inputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, (list, tuple)):
            raise ValueError(f"blocks must list operations, not {brief(self.blocks)}")
        count = len(self.blocks)
        if not count or count % STAGES:
            raise ValueError(f"a network has {STAGES} stages of as many blocks, not {count} blocks")
        for name in self.blocks:
            _check_operation(name)
        for position in range(0, count, count // STAGES):
            if self.blocks[position] == "skip_connect":
                raise ValueError(f"block {position} begins a stage and cannot be skip_connect")
        object.__setattr__(self, "blocks", tuple(self.blocks))

    @property
    def depth(self) -> int:
        """Blocks in each stage, skipped ones too."""
        return len(self.blocks) // STAGES

    def nodes(self, cell: str = "blocks") -> int:
        """How many blocks there are (``ValueError`` for an unknown cell)."""
        _check_cell(cell)
        return len(self.blocks)

    def concat(self, cell: str = "blocks") -> tuple[int, ...]:
        """The states that make the output: the last alone."""
        _check_cell(cell)
        return (len(self.blocks),)

    def edges(self, cell: str = "blocks") -> list[tuple[int, int, str]]:
        """``(state before, state behind, operation)`` of each block."""
        _check_cell(cell)
        return [(number, number + 1, name) for number, name in enumerate(self.blocks)]

    def count(self, operation: str, cell: str | None = None) -> int:
        """How many blocks have the operation.

        Raises:
            ValueError: an unknown operation or cell.
        """
        _check_operation(operation)
        if cell is not None:
            _check_cell(cell)
        return self.blocks.count(operation)

    def canonical(self) -> Genotype:
        """The same network with the skipped blocks of each stage at its end."""
        stages = [self.blocks[i : i + self.depth] for i in range(0, len(self.blocks), self.depth)]
        ordered = [sorted(stage, key=lambda name: name == "skip_connect") for stage in stages]
        return Genotype(tuple(name for stage in ordered for name in stage))

    def same_as(self, other: object) -> bool:
        """Whether both describe the same network, wherever in a stage a block is skipped."""
        return isinstance(other, Genotype) and self.canonical() == other.canonical()

    def to_json(self) -> str:
        """JSON text, one line a stage; ``parse`` reads it back to an equal genotype."""
        stages = [self.blocks[i : i + self.depth] for i in range(0, len(self.blocks), self.depth)]
        rows = ",\n".join(f"    {json.dumps(stage)[1:-1]}" for stage in stages)
        return f'{{\n  "space": "{SPACE}",\n  "blocks": [\n{rows}\n  ]\n}}'

    def __str__(self) -> str:
        """JSON text in one line; ``parse`` reads it back to an equal genotype."""
        return json.dumps({"space": SPACE, "blocks": self.blocks})

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Read ``{"space": "macro", "blocks": ["mb_k3_e3", ...]}``.

        Raises:
            ValueError: anything else, with a message of one line.
        """
        return cls(read_part(checked(text), SPACE, "blocks"))


def _check_operation(name: object) -> None:
    if not isinstance(name, str) or name not in PRIMITIVES:
        raise ValueError(f"unknown operation {brief(name)}; choose from {', '.join(PRIMITIVES)}")


def _check_cell(cell: object) -> None:
    if cell not in Genotype.cells:
        raise ValueError(f"unknown cell {brief(cell)}; choose from {', '.join(Genotype.cells)}")
