"""Layers and discrete networks of the ``elastic`` space.

References:
    He et al., "Deep Residual Learning", arXiv:1512.03385: residual blocks.
    Tan and Le, "EfficientNetV2", arXiv:2104.00298, section 3.2: a convolution to more channels and
    a pointwise convolution back, which is faster than with a depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.elastic.genotype import SKIP, STAGES, BlockSpec, Genotype, begins_stage
from darts.spaces.macro.fast_layers import Residual
from darts.spaces.network import NetworkBase

# Width of each stage divided by the width of the first.
FACTORS = (1, 2, 4)


def width_of(channels: int, stage: int, percent: int) -> int:
    """Return a number of channels; ``channels`` is the width of the first stage."""
    return max(1, round(channels * FACTORS[stage] * percent / 100))


class BlockPlan(NamedTuple):
    """The place of a block: its stage, and its group and row among the alphas.

    Stages begin with a block of the group "first"; the group of all others is "rest".
    """

    stage: int
    group: str
    row: int

    @property
    def is_first(self) -> bool:
        return self.group == "first"


def plan_blocks(depths: Sequence[int]) -> Iterator[BlockPlan]:
    """Yield the plans of all blocks; ``depths`` are the numbers of blocks in each stage."""
    row = 0
    for stage in range(STAGES):
        yield BlockPlan(stage, "first", stage)
        for _ in range(depths[stage] - 1):
            yield BlockPlan(stage, "rest", row)
            row += 1


def make_stem(in_channels: int, channels: int) -> nn.Sequential:
    """Return a 3x3 convolution with batch norm and ReLU, which keeps the image size."""
    conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


def make_block(inputs: int, outputs: int, hidden: int, kernel: int, *, adds: bool) -> Residual:
    """Return a convolution to ``hidden`` channels and a linear pointwise convolution.

    ``adds`` says whether the block adds its input. It keeps the image size.
    """
    return Residual(
        nn.Conv2d(inputs, hidden, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        residual=adds,
    )


def halved(x: Tensor) -> Tensor:
    """Return images of half the size, rounded up, for the first block of a stage."""
    return F.max_pool2d(x, 2, ceil_mode=True)


class Network(NetworkBase):
    """A stem, three stages of blocks, global average pooling and a linear classifier.

    Each stage begins by halving the images.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int,
        classes: int = 10,
        in_channels: int = 3,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, drop_path)
        self.stem = make_stem(in_channels, channels)
        self.blocks = nn.ModuleList()
        width = channels
        self.plans = tuple(plan_blocks([len(stage) for stage in genotype.stages]))
        for plan, name in zip(self.plans, genotype.blocks, strict=True):
            if name == SKIP:
                self.blocks.append(nn.Identity())
                continue
            spec, inputs = BlockSpec.parse(name), width
            if begins_stage(name):
                assert spec.width is not None
                width = width_of(channels, plan.stage, spec.width)
            hidden = width_of(channels, plan.stage, spec.expansion)
            block = make_block(inputs, width, hidden, spec.kernel, adds=not plan.is_first)
            self.blocks.append(block)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for plan, block in zip(self.plans, self.blocks, strict=True):
            x = halved(x) if plan.is_first else x
            x = block(x, self.drop_path) if isinstance(block, Residual) else block(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.blocks)
