"""The macro space.

The parameters of an architecture are the operations of its blocks. Each genotype is exactly one
point.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381; Cai et al., "ProxylessNAS", arXiv:1812.00332,
    section 3.2 (derivation of the path with the highest weights) and section 3.3 (expected costs
    under the mixing weights); Wu et al., "FBNet", arXiv:1812.03443.
    NAS-Bench-Macro: Su et al., arXiv:2103.11922, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from darts.registry import choice, number
from darts.spaces.candidate_subset import allowed, check_subset, subset_masks
from darts.spaces.deriving import Candidates, best_operations, mask_row
from darts.spaces.macro.genotype import CONVOLUTIONS, RESIDUALS, STAGES, Genotype
from darts.spaces.macro.network import Network, check_depths
from darts.spaces.macro.skeleton import (
    SKELETONS,
    BlockPlan,
    Skeleton,
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
        channels: Width of the first stage; the skeleton defines the other widths.
        cells: Number of blocks in each stage of the supernet. The network of a genotype has the
            genotype's number of blocks.
        skeleton: "standard"; or "nasbench" for the architectures of NAS-Bench-Macro, whose stages
            have 2, 3 and 3 blocks whatever ``cells`` is. With ``channels=64``, the networks are
            those of the benchmark. "plain" for convolutional networks without residual connections
            whose classifier distinguishes positions, as baselines on small images. "fast" for
            networks that learn in few epochs; the classifier of "fast_grid" distinguishes
            positions.
        candidates: Operations to choose from; [] for all operations of the skeleton.

    Raises:
        ValueError: Candidates that are unknown or occur twice, or a block without candidates.
    """

    captures: ClassVar[bool] = True
    name: str = "macro"
    supports_partial: ClassVar[bool] = False
    retrain_keys: ClassVar[tuple[str, ...]] = ("skeleton",)
    size_keys: ClassVar[tuple[str, ...]] = ("channels",)
    channels: int = number(16, low=1)
    cells: int = number(4, low=1, high=1000)
    skeleton: str = choice("standard", *SKELETONS)
    candidates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.skeleton in SKELETONS:  # the configuration refuses other names
            shared = SKELETONS[self.skeleton]
            choices = {
                "the first block of a stage": shared.candidates("first"),
                "the other blocks of a stage": shared.candidates("rest"),
            }
            check_subset(self.candidates, choices)

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
        return Supernet(channels=self.channels, cells=self.cells, skeleton=self.skeleton, **sizes)

    def network(
        self, genotype: Genotype, *, auxiliary: bool = False, drop_path: float = 0.0, **sizes: int
    ) -> Network:
        return Network(
            genotype,
            channels=self.channels,
            skeleton=self.skeleton,
            auxiliary=auxiliary,
            drop_path=drop_path,
            **sizes,
        )

    @classmethod
    def reference(cls, genotype: Genotype) -> Macro:
        fitting = (name for name, shared in SKELETONS.items() if shared.depths == genotype.depths)
        skeleton = next(fitting, "standard")
        if not set(CONVOLUTIONS).isdisjoint(genotype.blocks):
            skeleton = "plain"
        if not set(RESIDUALS).isdisjoint(genotype.blocks):
            skeleton = "fast"
        channels = SKELETONS[skeleton].channels
        return cls(channels=channels, cells=genotype.depth, skeleton=skeleton)

    @property
    def benchmark(self) -> str | None:
        return self._shared.benchmark

    def parse(self, text: str) -> Genotype:
        return Genotype.parse(text)

    def derive(self, probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
        best = best_operations(probabilities, candidates)
        return self._genotype(in_block_order(best, self._shared.depths))

    def initial_masks(self, candidates: Candidates) -> dict[str, Tensor]:
        return subset_masks(candidates, self.candidates)

    def random(self, generator: torch.Generator) -> Genotype:
        def draw(names: Sequence[str]) -> str:
            column = torch.randint(len(names), (), generator=generator, device=generator.device)
            return names[int(column)]

        return self._genotype(
            draw(allowed(plan.candidates, self.candidates)) for plan in self._plans()
        )

    def parameters(self) -> list[Parameter]:
        return [
            Parameter(f"block{index}", Choice(allowed(plan.candidates, self.candidates)))
            for index, plan in enumerate(self._plans())
        ]

    def encode(self, genotype: Genotype) -> Point:
        check_depths(genotype, self.skeleton, self._shared.stage_depths(genotype.depth))
        if len(genotype.blocks) != len(self.parameters()):
            raise ValueError(
                f"space.cells={self.cells}: the genotype has {genotype.depth} blocks per stage; "
                f"set space.cells={genotype.depth}"
            )
        for name, plan in zip(genotype.blocks, self._plans(), strict=True):
            names = allowed(plan.candidates, self.candidates)
            mask_row(name, names, f"of a block of the group {plan.group}")
        return {f"block{index}": name for index, name in enumerate(genotype.blocks)}

    def decode(self, point: Mapping[str, Value]) -> Genotype:
        return self._genotype(str(point[parameter.name]) for parameter in self.parameters())

    def mask(self, genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
        masks: dict[str, list[list[bool]]] = {group: [] for group in candidates}
        total = sum(map(len, candidates.values()))
        if total != len(genotype.blocks):
            raise ValueError(f"the genotype has {len(genotype.blocks)} blocks, not {total}")
        blocks = in_block_order(
            {group: [(group, names) for names in rows] for group, rows in candidates.items()},
            genotype.depths,
        )
        for (group, names), operation in zip(blocks, genotype.blocks, strict=True):
            masks[group].append(mask_row(operation, names, f"of a block of the group {group}"))
        return {group: torch.tensor(rows) for group, rows in masks.items()}

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        in_channels, height, width = sample_shape
        stem = partial(make_stem, in_channels, self.channels, self._shared)
        yield NetworkPiece(stem, tuple(sample_shape))
        for plan in plan_blocks(self.channels, self.cells, self._shared, in_channels):
            for column, name in enumerate(plan.candidates):
                make, place = partial(make_operation, name, plan), (plan.group, plan.row, column)
                yield NetworkPiece(make, (plan.inputs, height, width), place)
            height, width = (-(-side // plan.stride) for side in (height, width))
        last_width = last_channels(self.channels, self._shared)
        head = partial(make_head, last_width, classes, self._shared)
        yield NetworkPiece(head, (last_width, height, width))

    @property
    def _shared(self) -> Skeleton:
        return SKELETONS[self.skeleton]

    def _plans(self) -> Iterator[BlockPlan]:
        return plan_blocks(self.channels, self.cells, self._shared)

    def _genotype(self, operations: Iterable[str]) -> Genotype:
        return Genotype(tuple(operations), self._shared.depths or ())


def in_block_order(
    groups: Mapping[str, Sequence[T]], depths: Sequence[int] | None = None
) -> list[T]:
    """Return the items of both groups of alphas in the order of the blocks.

    Args:
        groups: ``groups["first"]`` has an item for the first block of each stage,
            ``groups["rest"]`` an item for each other block.
        depths: Number of blocks in each stage; None if all are equal.
    """
    rest = groups.get("rest", ())
    depths = depths or (1 + len(rest) // STAGES,) * STAGES
    remaining = iter(rest)
    return [
        item
        for first, depth in zip(groups["first"], depths, strict=True)
        for item in (first, *islice(remaining, depth - 1))
    ]
