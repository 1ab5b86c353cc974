"""The space of NAS-Bench-201.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.deriving import Candidates
from darts.spaces.nas201.derive import derive
from darts.spaces.nas201.encoding import decode, encode, parameters, random_genotype
from darts.spaces.nas201.genotype import PRIMITIVES, Genotype
from darts.spaces.nas201.network import Network
from darts.spaces.nas201.pieces import pieces
from darts.spaces.nas201.supernet import Supernet
from darts.spaces.network_piece import NetworkPiece
from darts.spaces.parameters import Parameter, Point, Value
from darts.spaces.space import SPACES, Space


@SPACES.register
@dataclass
class Nas201(Space):
    """Three stages of ``cells`` equal cells each.

    Attributes:
        channels: width of the first stage; it doubles with each stage.
        cells: number of cells in each stage.
    """

    name: str = "nas201"
    supports_compile: ClassVar[bool] = False
    weightless_operations: ClassVar[tuple[str, ...]] = ("none", "skip_connect", "avg_pool_3x3")
    channels: int = number(16, low=1)
    cells: int = number(5, low=1)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **sizes: int
    ) -> Supernet:
        return Supernet(
            channels=self.channels,
            cells=self.scaled_cells(depth),
            operations=PRIMITIVES,
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

    @classmethod
    def recognizes(cls, text: str) -> bool:
        return text.startswith("|")

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        return derive(probabilities, candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        return random_genotype(generator)

    def parameters(self) -> list[Parameter]:
        return parameters()

    def encode(self, genotype: Genotype) -> Point:
        return encode(genotype)

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return decode(point)

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        rows = zip(genotype.operations, candidates["cell"], strict=True)
        return {"cell": torch.tensor([[name == used for name in names] for used, names in rows])}

    def pieces(self, *, classes: int, image: Sequence[int]) -> Iterator[NetworkPiece]:
        return pieces(self.channels, self.cells, classes, image)
