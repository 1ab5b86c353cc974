"""The macro space.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381; Cai et al., "ProxylessNAS", arXiv:1812.00332;
    Wu et al., "FBNet", arXiv:1812.03443.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.deriving import Candidates
from darts.spaces.macro.derive import derive, mask_of
from darts.spaces.macro.genotype import Genotype
from darts.spaces.macro.network import Network
from darts.spaces.macro.pieces import pieces
from darts.spaces.macro.skeleton import plan_blocks
from darts.spaces.macro.supernet import Supernet
from darts.spaces.network_piece import NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import SPACES, Space


@SPACES.register
@dataclass
class Macro(Space):
    """Three stages of inverted residual blocks with one choice per block.

    Attributes:
        channels: width of the first stage; it doubles with each stage.
        cells: number of blocks in each stage of the supernet. The network of a genotype has the
            genotype's number of blocks.
    """

    name: str = "macro"
    supports_partial: ClassVar[bool] = False
    supports_compile: ClassVar[bool] = False
    channels: int = number(16, low=1)
    cells: int = number(4, low=1)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **sizes: int
    ) -> Supernet:
        """Build the supernet, see ``Space.supernet``.

        Raises:
            ValueError: partial channels, auxiliary skip connections or another depth.
        """
        self.reject_options(
            depth=depth,
            partial=partial,
            auxiliary_skip=auxiliary_skip,
            depth_reason="each block has its own alphas",
            skip_reason="its blocks already have skip connections",
        )
        return Supernet(channels=self.channels, cells=self.cells, **sizes)

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **sizes: int
    ) -> Network:
        return Network(
            genotype, channels=self.channels, auxiliary=auxiliary, drop_path=drop_path, **sizes
        )

    @classmethod
    def reference(cls, genotype: Genotype) -> Macro:
        return cls(cells=genotype.depth)

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        return derive(probabilities, candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        def draw(names: Sequence[str]) -> str:
            column = torch.randint(len(names), (), generator=generator, device=generator.device)
            return names[int(column)]

        plans = plan_blocks(self.channels, self.cells)
        return Genotype(tuple(draw(plan.candidates) for plan in plans))

    def parameters(self) -> list[Parameter]:
        plans = plan_blocks(self.channels, self.cells)
        return [
            Parameter(f"block{number}", Choice(plan.candidates))
            for number, plan in enumerate(plans)
        ]

    def encode(self, genotype: Genotype) -> Point:
        if genotype.depth != self.cells:
            raise ValueError(
                f"space.cells={self.cells}: the genotype has {genotype.depth} blocks per stage; "
                f"set space.cells={genotype.depth}"
            )
        return {f"block{number}": name for number, name in enumerate(genotype.blocks)}

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return Genotype(tuple(str(point[parameter.name]) for parameter in self.parameters()))

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        return mask_of(genotype, candidates)

    def pieces(self, *, classes: int, image: Sequence[int]) -> Iterator[NetworkPiece]:
        return pieces(self.channels, self.cells, classes, image)
