"""Genotype of the ``macro`` space: the operation of each block, from the stem to the head.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 4.1: kernel sizes and expansions of
    inverted residual blocks; skipping a block makes the network shallower.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import read_json_field, short_repr, strip_text

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
"""The candidates, in the order of the alphas' columns. ``mb_k3_e6`` is an inverted residual block
with kernel size 3 and expansion 6. ``skip_connect`` skips a block; a stage cannot begin with it."""


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The blocks of a network, in three stages of equal length.

    Attributes:
        blocks: The operation of each block. Lists are converted to tuples.

    Raises:
        ValueError: An unknown operation, a number of blocks that is not a multiple of three, or a
            skipped block at the start of a stage, where width or image size may change.
    """

    blocks: tuple[str, ...]

    space: ClassVar[str] = "macro"
    cells: ClassVar[tuple[str, ...]] = ("blocks",)
    vocabulary: ClassVar[tuple[str, ...]] = PRIMITIVES

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, (list, tuple)):
            raise ValueError(f"blocks must list operations, not {short_repr(self.blocks)}")
        count = len(self.blocks)
        if not count or count % STAGES:
            raise ValueError(
                f"blocks lists {count} operations; {STAGES} stages of equal length need a positive "
                f"multiple of {STAGES}"
            )
        for name in self.blocks:
            self.check_operation(name)
        for position in range(0, count, count // STAGES):
            if self.blocks[position] == "skip_connect":
                raise ValueError(f"block {position} begins a stage and cannot be skip_connect")
        object.__setattr__(self, "blocks", tuple(self.blocks))

    @property
    def operations(self) -> tuple[str, ...]:
        return self.blocks

    @property
    def depth(self) -> int:
        """Number of blocks in each stage, including skipped blocks."""
        return len(self.blocks) // STAGES

    def canonical(self) -> Genotype:
        """Return the same architecture with the skipped blocks at the end of each stage."""
        ordered = [sorted(stage, key=lambda name: name == "skip_connect") for stage in self._stages]
        return Genotype(tuple(name for stage in ordered for name in stage))

    def to_json(self) -> str:
        """Return JSON text with one line per stage."""
        rows = ",\n".join(f"    {json.dumps(stage)[1:-1]}" for stage in self._stages)
        return f'{{\n  "space": "{self.space}",\n  "blocks": [\n{rows}\n  ]\n}}'

    def __str__(self) -> str:
        """Return JSON text in one line; ``parse`` is the inverse."""
        return json.dumps({"space": self.space, "blocks": self.blocks})

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Parse ``{"space": "macro", "blocks": ["mb_k3_e3", ...]}``.

        Raises:
            ValueError: The text is not such a genotype; the message has one line.
        """
        return cls(read_json_field(strip_text(text), cls.space, "blocks"))

    @property
    def _stages(self) -> list[tuple[str, ...]]:
        return [self.blocks[i : i + self.depth] for i in range(0, len(self.blocks), self.depth)]
