"""The macro space and its discrete networks. A point has one parameter for each block.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381, section 3.3; Cai et al., "ProxylessNAS",
    arXiv:1812.00332, section 3.2 (derivation of the path with the highest weights) and section 3.3
    (expected costs under the mixing weights); Wu et al., "FBNet", arXiv:1812.03443.
    Huang et al., "Deep Networks with Stochastic Depth", arXiv:1603.09382: dropping the residual
    branch of a block for a sample.
    NAS-Bench-Macro: Su et al., arXiv:2103.11922, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from darts.registry import choice, number
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.choice_space import ChoiceSpace
from darts.spaces.deriving import Candidates, allowed, check_subset, subset_masks
from darts.spaces.macro.fast_layers import Heads, Residual, join_parts, split_parts
from darts.spaces.macro.genotype import CONVOLUTIONS, RESIDUALS, Genotype
from darts.spaces.macro.moves import inherited_tensors, moves
from darts.spaces.macro.skeleton import (
    FAST,
    SKELETONS,
    BlockPlan,
    Skeleton,
    make_block,
    make_head,
    make_operation,
    make_stem,
    plan_blocks,
    plan_shaped_blocks,
)
from darts.spaces.macro.supernet import Supernet
from darts.spaces.moves import Move
from darts.spaces.network import NetworkBase, NetworkPiece
from darts.spaces.space import SPACES


class Network(NetworkBase):
    """A stem, the blocks of a genotype, and a head.

    The shape of a genotype replaces ``channels`` and ``skeleton``.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 16,
        skeleton: str = "standard",
        classes: int = 10,
        in_channels: int = 3,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, drop_path)
        shape, shared = genotype.shape, SKELETONS[skeleton]
        self.parts = 1 if shape is None else shape.parts
        if shape is None:
            check_depths(genotype, skeleton, shared.stage_depths(genotype.depth))
            make, plans = make_operation, plan_blocks(channels, genotype.depth, shared, in_channels)
        else:
            shared = FAST
            make, plans = make_block, plan_shaped_blocks(genotype, shape, in_channels)
        self.stem = make_stem(in_channels, channels, shared)
        self.blocks = nn.ModuleList(
            make(name, plan) for name, plan in zip(genotype.blocks, plans, strict=True)
        )
        if shape is None:
            self.head: nn.Module = make_head(channels, classes, shared)
        else:
            self.head = Heads(shape.widths[-1], classes, shape)

    def forward(self, images: Tensor) -> Tensor:
        images = split_parts(images, self.parts) if self.parts > 1 else images
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x, self.drop_path) if isinstance(block, Residual) else block(x)
        logits: Tensor = self.head(join_parts(x, self.parts) if self.parts > 1 else x)
        return logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.blocks)


@SPACES.register
@dataclass
class Macro(ChoiceSpace):
    """Three stages of inverted residual blocks with one choice per block.

    Attributes:
        channels: Width of the first stage; the skeleton defines the other widths.
        cells: Number of blocks in each stage of the supernet. The network of a genotype has the
            genotype's number of blocks.
        skeleton: "standard"; or "nasbench" for the architectures of NAS-Bench-Macro, whose stages
            have 2, 3 and 3 blocks whatever ``cells`` is. With ``channels=64``, the networks are
            the benchmark's. "plain" for convolutional networks without residual connections
            whose classifier distinguishes positions, as baselines on small images. "fast" for
            networks that learn in few epochs; the classifier of "fast_grid" distinguishes
            positions.
        candidates: Operations to choose from; [] for all operations of the skeleton.
    """

    name: str = "macro"
    genotype: ClassVar[type[AnyGenotype]] = Genotype
    retrain_keys: ClassVar[tuple[str, ...]] = ("skeleton",)
    size_keys: ClassVar[tuple[str, ...]] = ("channels",)
    channels: int = number(16, low=1)
    cells: int = number(4, low=1, high=1000)
    skeleton: str = choice("standard", *SKELETONS)
    candidates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.skeleton in SKELETONS:  # the configuration rejects other names
            choices = {
                "the first block of a stage": self._shared.candidates("first"),
                "the other blocks of a stage": self._shared.candidates("rest"),
            }
            check_subset(self.candidates, choices)

    def supernet(self, **options: Any) -> Supernet:
        return Supernet(self, **self.supported(options, depth=1, partial=1, auxiliary_skip=0))

    def network(self, genotype: Genotype, **options: Any) -> Network:
        options = self.supported(options, auxiliary=0)
        return Network(genotype, channels=self.channels, skeleton=self.skeleton, **options)

    @classmethod
    def reference(cls, genotype: Genotype) -> Macro:
        if genotype.shape is not None:
            return cls(channels=genotype.shape.widths[0], cells=genotype.depth, skeleton="fast")
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

    def initial_masks(self, candidates: Candidates) -> dict[str, Tensor]:
        return subset_masks(candidates, self.candidates)

    def moves(self, genotype: Genotype) -> Iterable[Move]:
        return moves(genotype) if genotype.shape is not None else ()

    def inherited_tensors(
        self,
        genotype: Genotype,
        parent: Genotype,
        own: Mapping[str, Tensor],
        theirs: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        if genotype.shape is None or parent.shape is None:
            return super().inherited_tensors(genotype, parent, own, theirs)
        return inherited_tensors(genotype, parent, own, theirs)

    def choices(self) -> dict[str, tuple[str, ...]]:
        return {
            f"block{index}": allowed(plan.candidates, self.candidates)
            for index, plan in enumerate(self._plans())
        }

    def genotype_of(self, operations: Sequence[str]) -> Genotype:
        return Genotype(tuple(operations), self._shared.depths or ())

    def operations_of(self, genotype: Genotype) -> tuple[str, ...]:
        if genotype.shape is not None:
            raise ValueError("the genotype has a shape, so no choice of operations describes it")
        check_depths(genotype, self.skeleton, self._shared.stage_depths(self.cells))
        return super().operations_of(genotype)

    def rows(self, candidates: Candidates) -> list[tuple[str, int]]:
        return [(plan.group, plan.row) for plan in self._plans()]

    def pieces(self, *, classes: int, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
        in_channels, height, width = sample_shape
        stem = partial(make_stem, in_channels, self.channels, self._shared)
        yield NetworkPiece(stem, tuple(sample_shape))
        for plan in self._plans(in_channels):
            for column, name in enumerate(plan.candidates):
                make, place = partial(make_operation, name, plan), (plan.group, plan.row, column)
                yield NetworkPiece(make, (plan.inputs, height, width), place)
            height, width = (-(-side // plan.stride) for side in (height, width))
        head = partial(make_head, self.channels, classes, self._shared)
        yield NetworkPiece(head, (plan.outputs, height, width))

    @property
    def _shared(self) -> Skeleton:
        return SKELETONS[self.skeleton]

    def _plans(self, in_channels: int = 3) -> Iterator[BlockPlan]:
        return plan_blocks(self.channels, self.cells, self._shared, in_channels)


def check_depths(genotype: Genotype, skeleton: str, depths: tuple[int, ...]) -> None:
    """Raise ValueError unless the stages of a genotype have these numbers of blocks."""
    if genotype.depths != depths:
        wanted, actual = (", ".join(map(str, numbers)) for numbers in (depths, genotype.depths))
        fitting = [name for name, shared in SKELETONS.items() if shared.depths == genotype.depths]
        remedy = f"; set space.skeleton={fitting[0]}" if fitting else ""
        if genotype.depths == SKELETONS[skeleton].stage_depths(genotype.depth):
            remedy = f"; set space.cells={genotype.depth}"
        raise ValueError(
            f"space.skeleton={skeleton}: the stages of the genotype have {actual} blocks, not "
            f"{wanted}{remedy}"
        )
