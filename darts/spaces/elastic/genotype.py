"""Genotype of the ``elastic`` space: kernel size and width of each block, and of each stage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from darts.spaces.any_genotype import ChainGenotype
from darts.spaces.genotype_text import entries_of, short_repr

STAGES = 3
KERNELS = (3, 5, 7)
SKIP = "skip_connect"  # a block that is left out
LARGEST = 1000  # percent

_NAME = re.compile(r"(?:w([1-9]\d{0,3})_)?k([357])_e([1-9]\d{0,3})", re.ASCII)


class BlockSpec(NamedTuple):
    """A block: width of its stage if it begins one, kernel size, and width inside the block.

    Both widths are in percent of the width of the widest stage of the supernet.
    """

    width: int | None
    kernel: int
    expansion: int

    @classmethod
    def parse(cls, name: object) -> BlockSpec:
        """Return the block with a name; raise ValueError for other names."""
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise ValueError(
                f"unknown operation {short_repr(name)}; choose from {SKIP}, names like k3_e100 "
                "(kernel size 3, width 100 % inside), and w75_k3_e100 at the beginning of a stage"
            )
        width, kernel, expansion = (None if part is None else int(part) for part in match.groups())
        assert kernel is not None
        assert expansion is not None
        if expansion > LARGEST or (width or 0) > LARGEST:
            raise ValueError(f"{name}: widths must be at most {LARGEST} %")
        return cls(width, kernel, expansion)


@dataclass(frozen=True)
class Genotype(ChainGenotype):
    """The blocks of a network, in three stages; ``w75_k3_e100`` begins a stage."""

    blocks: tuple[str, ...]

    space: ClassVar[str] = "elastic"
    cells: ClassVar[tuple[str, ...]] = ("blocks",)

    def __post_init__(self) -> None:
        blocks = entries_of("blocks", self.blocks)
        for name in blocks:
            self.check_operation(name)
        object.__setattr__(self, "blocks", blocks)
        starts = [begins_stage(name) for name in blocks]
        if not starts[0] or sum(starts) != STAGES:
            raise ValueError(
                f"blocks has {sum(starts)} blocks that begin a stage (w75_k3_e100 and alike), and "
                f"{'one' if starts[0] else 'none'} at the beginning; it needs {STAGES} and one"
            )

    @classmethod
    def check_operation(cls, name: object) -> None:
        if name != SKIP:
            BlockSpec.parse(name)

    def canonical(self) -> Genotype:
        """Return the same architecture with the skipped blocks at the end of each stage."""
        ordered = [sorted(stage, key=lambda name: name == SKIP) for stage in self.stages]
        return Genotype(tuple(name for stage in ordered for name in stage))

    @property
    def stages(self) -> list[list[str]]:
        """The names of the blocks of each stage."""
        stages: list[list[str]] = []
        for name in self.blocks:
            stages += [[]] if begins_stage(name) else []
            stages[-1].append(name)
        return stages


def begins_stage(name: str) -> bool:
    return name.startswith("w")


def block_names(
    widths: Iterable[int | None], kernels: Iterable[int], expansions: Iterable[int]
) -> tuple[str, ...]:
    """Return the names of all blocks with these widths, kernel sizes and widths inside."""
    kernels, expansions = tuple(kernels), tuple(expansions)
    return tuple(
        f"{'' if width is None else f'w{width}_'}k{kernel}_e{expansion}"
        for width in widths
        for kernel in kernels
        for expansion in expansions
    )
