"""The space of NAS-Bench-201. A point has one parameter for each edge: its operation.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2 and 5: all edges are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from darts.registry import number
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.deriving import check_candidates
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES, Genotype
from darts.spaces.nas201.network import (
    Head,
    Network,
    ResidualBlock,
    make_operation,
    make_stem,
    plan_layers,
)
from darts.spaces.nas201.supernet import Supernet
from darts.spaces.network import NetworkPiece
from darts.spaces.space import SPACES


@SPACES.register
@dataclass
class Nas201(ChoiceSpace):
    """Three stages of ``cells`` equal cells; ``channels`` doubles with each stage."""

    notation: ClassVar[str | None] = r"^\|"
    name: str = "nas201"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    size_keys: ClassVar[tuple[str, ...]] = ("channels", "cells")
    weightless_operations: ClassVar[tuple[str, ...]] = ("none", "skip_connect", "avg_pool_3x3")
    channels: int = number(16, low=1)
    cells: int = number(5, low=1, high=1000)
    candidates: list[str] = field(default_factory=lambda: list(PRIMITIVES))

    def __post_init__(self) -> None:
        check_candidates(self.candidates, PRIMITIVES)

    def supernet(self, *, depth: float = 1.0, **options: Any) -> Supernet:
        return Supernet(
            channels=self.channels,
            cells=self.scaled_cells(depth),
            operations=self.candidates,
            **options,
        )

    def network(self, genotype: Genotype, **options: Any) -> Network:
        options = self.supported(options, auxiliary=0)
        return Network(genotype, channels=self.channels, cells=self.cells, **options)

    @property
    def benchmark(self) -> str:
        return "nas201"

    def choices(self) -> dict[str, list[str]]:
        return {f"{source}>{target}": self.candidates for source, target in EDGES}

    def genotype_of(self, operations: Sequence[str]) -> Genotype:
        return Genotype.from_operations(*operations)

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        in_channels, height, width = sample_shape
        yield NetworkPiece(partial(make_stem, in_channels, self.channels), tuple(sample_shape))
        for inputs, outputs in plan_layers(self.channels, self.cells):
            shape = (inputs, height, width)
            if inputs == outputs:
                for edge in range(len(EDGES)):
                    for column, name in enumerate(self.candidates):
                        make = partial(make_operation, name, outputs)
                        yield NetworkPiece(make, shape, ("cell", edge, column))
            else:
                yield NetworkPiece(partial(ResidualBlock, inputs, outputs), shape)
                height, width = -(-height // 2), -(-width // 2)
        yield NetworkPiece(partial(Head, outputs, classes), (outputs, height, width))
