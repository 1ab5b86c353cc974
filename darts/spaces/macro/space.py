"""The macro space.

The parameters of an architecture are the operations of its blocks. Each genotype is exactly one
point.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381; Cai et al., "ProxylessNAS", arXiv:1812.00332,
    section 3.2 (derivation of the path with the highest weights) and section 3.3 (expected costs
    under the mixing weights); Wu et al., "FBNet", arXiv:1812.03443.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from darts.registry import number
from darts.spaces.deriving import Candidates, best_operations, mask_row
from darts.spaces.macro.genotype import STAGES, Genotype
from darts.spaces.macro.network import Network
from darts.spaces.macro.skeleton import (
    last_channels,
    make_head,
    make_operation,
    make_stem,
    plan_blocks,
)
from darts.spaces.macro.supernet import Supernet
from darts.spaces.network import NetworkPiece
from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.space import SPACES, Space

T = TypeVar("T")


@SPACES.register
@dataclass
class Macro(Space):
    """Three stages of inverted residual blocks with one choice per block.

    Attributes:
        channels: Width of the first stage; it doubles with each stage.
        cells: Number of blocks in each stage of the supernet. The network of a genotype has the
            genotype's number of blocks.
    """

    name: str = "macro"
    supports_partial: ClassVar[bool] = False
    supports_compile: ClassVar[bool] = False
    channels: int = number(16, low=1)
    cells: int = number(4, low=1, high=1000)

    def supernet(
        self, *, depth: float = 1.0, partial: int = 1, auxiliary_skip: bool = False, **sizes: int
    ) -> Supernet:
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
        return Genotype(tuple(in_block_order(best_operations(probabilities, candidates))))

    def random(self, generator: torch.Generator) -> Genotype:
        def draw(names: Sequence[str]) -> str:
            column = torch.randint(len(names), (), generator=generator, device=generator.device)
            return names[int(column)]

        plans = plan_blocks(self.channels, self.cells)
        return Genotype(tuple(draw(plan.candidates) for plan in plans))

    def parameters(self) -> list[Parameter]:
        plans = plan_blocks(self.channels, self.cells)
        return [
            Parameter(f"block{index}", Choice(plan.candidates)) for index, plan in enumerate(plans)
        ]

    def encode(self, genotype: Genotype) -> Point:
        if genotype.depth != self.cells:
            raise ValueError(
                f"space.cells={self.cells}: the genotype has {genotype.depth} blocks per stage; "
                f"set space.cells={genotype.depth}"
            )
        return {f"block{index}": name for index, name in enumerate(genotype.blocks)}

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return Genotype(tuple(str(point[parameter.name]) for parameter in self.parameters()))

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        masks: dict[str, list[list[bool]]] = {group: [] for group in candidates}
        blocks = in_block_order(
            {group: [(group, names) for names in rows] for group, rows in candidates.items()}
        )
        if len(blocks) != len(genotype.blocks):
            raise ValueError(f"the genotype has {len(genotype.blocks)} blocks, not {len(blocks)}")
        for (group, names), operation in zip(blocks, genotype.blocks, strict=True):
            masks[group].append(mask_row(operation, names, f"of a block of the group {group}"))
        return {group: torch.tensor(rows) for group, rows in masks.items()}

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        in_channels, height, width = sample_shape
        yield NetworkPiece(partial(make_stem, in_channels, self.channels), tuple(sample_shape))
        for plan in plan_blocks(self.channels, self.cells):
            for column, name in enumerate(plan.candidates):
                make, place = partial(make_operation, name, plan), (plan.group, plan.row, column)
                yield NetworkPiece(make, (plan.inputs, height, width), place)
            height, width = (-(-side // plan.stride) for side in (height, width))
        last_width = last_channels(self.channels)
        yield NetworkPiece(partial(make_head, last_width, classes), (last_width, height, width))


def in_block_order(groups: Mapping[str, Sequence[T]]) -> list[T]:
    """Return the items of both groups of alphas in the order of the blocks.

    ``groups["first"]`` has an item for the first block of each stage, ``groups["rest"]`` an item
    for each other block.
    """
    rest = groups.get("rest", ())
    per_stage = len(rest) // STAGES
    return [
        item
        for stage in range(STAGES)
        for item in (groups["first"][stage], *rest[stage * per_stage : (stage + 1) * per_stage])
    ]
