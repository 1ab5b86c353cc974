"""The space of NAS-Bench-201. A point has one parameter for each edge: its operation.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2 and 5: all edges are kept, and
    ``none`` competes with the other operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.checks import check_candidates
from darts.spaces.deriving import Candidates, best_operations, check_groups
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES, Genotype
from darts.spaces.nas201.network import Network
from darts.spaces.nas201.skeleton import (
    Head,
    ResidualBlock,
    last_channels,
    make_operation,
    make_stem,
    plan_layers,
)
from darts.spaces.nas201.supernet import Supernet
from darts.spaces.network import NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import SPACES, Space

_PARAMETER_NAMES = tuple(f"{source}>{target}" for source, target in EDGES)


@SPACES.register
@dataclass
class Nas201(Space):
    """Three stages of ``cells`` equal cells each.

    Attributes:
        channels: Width of the first stage; it doubles with each stage.
        cells: Number of cells in each stage.
        candidates: Operations that are the candidates of every edge.

    Raises:
        ValueError: Candidates that are unknown or occur twice, or ``none`` alone.
    """

    captures: ClassVar[bool] = True
    name: str = "nas201"
    size_keys: ClassVar[tuple[str, ...]] = ("channels", "cells")
    weightless_operations: ClassVar[tuple[str, ...]] = ("none", "skip_connect", "avg_pool_3x3")
    channels: int = number(16, low=1)
    cells: int = number(5, low=1, high=1000)
    candidates: list[str] = field(default_factory=lambda: list(PRIMITIVES))

    def __post_init__(self) -> None:
        check_candidates(self.candidates, PRIMITIVES)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **sizes: int
    ) -> Supernet:
        return Supernet(
            channels=self.channels,
            cells=self.scaled_cells(depth),
            operations=self.candidates,
            partial=partial,
            auxiliary_skip=auxiliary_skip,
            **sizes,
        )

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **sizes: int
    ) -> Network:
        return Network(
            genotype,
            channels=self.channels,
            cells=self.cells,
            auxiliary=auxiliary,
            drop_path=drop_path,
            **sizes,
        )

    @property
    def benchmark(self) -> str:
        return "nas201"

    @classmethod
    def recognizes(cls, text: str) -> bool:
        return text.startswith("|")

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        check_groups("candidates", candidates, Genotype.cells)
        widths = {len(row) for row in candidates["cell"]}
        if len(candidates["cell"]) != len(EDGES) or len(widths) != 1 or not min(widths):
            raise ValueError(
                f"candidates of cell must be {len(EDGES)} non-empty rows of equal length"
            )
        return Genotype.from_operations(*best_operations(probabilities, candidates)["cell"])

    def random(self, generator: torch.Generator) -> Genotype:
        count, edges = len(self.candidates), len(EDGES)
        drawn = int(torch.randint(count**edges, (), generator=generator, device=generator.device))
        digits = [drawn // count**place % count for place in reversed(range(edges))]
        return Genotype.from_operations(*(self.candidates[digit] for digit in digits))

    def parameters(self) -> list[Parameter]:
        return [Parameter(name, Choice(tuple(self.candidates))) for name in _PARAMETER_NAMES]

    def encode(self, genotype: Genotype) -> Point:
        for (source, target), name in zip(EDGES, genotype.operations, strict=True):
            if name not in self.candidates:
                raise ValueError(f"{name} is not a candidate of the edge from {source} to {target}")
        return dict(zip(_PARAMETER_NAMES, genotype.operations, strict=True))

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return Genotype.from_operations(*(str(point[name]) for name in _PARAMETER_NAMES))

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        rows = zip(genotype.operations, candidates["cell"], strict=True)
        return {"cell": torch.tensor([[name == used for name in names] for used, names in rows])}

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        in_channels, height, width = sample_shape
        yield NetworkPiece(partial(make_stem, in_channels, self.channels), tuple(sample_shape))
        for layer in plan_layers(self.channels, self.cells):
            shape = (layer.inputs, height, width)
            if layer.is_cell:
                for edge in range(len(EDGES)):
                    for column, name in enumerate(self.candidates):
                        make = partial(make_operation, name, layer.outputs)
                        yield NetworkPiece(make, shape, ("cell", edge, column))
            else:
                yield NetworkPiece(partial(ResidualBlock, layer.inputs, layer.outputs), shape)
                height, width = -(-height // 2), -(-width // 2)
        last_width = last_channels(self.channels)
        yield NetworkPiece(partial(Head, last_width, classes), (last_width, height, width))
