"""Layers that the supernet and the discrete network of the macro space share.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381, section 3.3 and tables 1 and 2: the inverted
    residual block, and a last pointwise convolution to four times the width.
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 4.1: the candidates of a block.
    Wu et al., "FBNet", arXiv:1812.03443, table 1: a macro-architecture with a choice per block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from darts.spaces.cnn.network import drop_path
from darts.spaces.cnn.operations import DepthwiseConv2d
from darts.spaces.macro.genotype import PRIMITIVES, STAGES
from darts.spaces.rank_dropout import BatchShare


class BlockPlan(NamedTuple):
    """Shape of one block and its place among the alphas.

    Attributes:
        inputs: Input channels.
        outputs: Output channels.
        stride: 2 if the block halves the image, else 1.
        group: ``"first"`` for the first block of a stage, ``"rest"`` for the others.
        row: Row of the group's alphas.
    """

    inputs: int
    outputs: int
    stride: int
    group: str
    row: int

    @property
    def candidates(self) -> tuple[str, ...]:
        """The candidates; the first block of a stage cannot be skipped."""
        return PRIMITIVES if self.group == "rest" else PRIMITIVES[:-1]


def plan_blocks(channels: int, cells: int) -> Iterator[BlockPlan]:
    """Yield the plans of all blocks; ``cells`` is the number of blocks in each stage."""
    width = channels
    for stage in range(STAGES):
        stage_width = channels * 2**stage
        yield BlockPlan(width, stage_width, 2 if stage else 1, "first", stage)
        width = stage_width
        for index in range(cells - 1):
            yield BlockPlan(width, width, 1, "rest", stage * (cells - 1) + index)


def last_channels(channels: int) -> int:
    """Return the width of the last stage; ``channels`` is that of the first."""
    return channels << (STAGES - 1)


class InvertedResidual(nn.Module):
    """A pointwise convolution to more channels, a depthwise and a linear pointwise convolution.

    If input and output have the same shape, the input is added.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        stride: Stride of the depthwise convolution.
        kernel: Kernel size of the depthwise convolution, an odd number.
        expansion: Channels of the depthwise convolution divided by ``inputs``.
        affine: Whether batch norms have scale and shift.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        kernel: int,
        expansion: int,
        affine: bool = True,
    ) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden, affine=affine),
            nn.ReLU6(),
            DepthwiseConv2d(
                hidden, hidden, kernel, stride, padding=kernel // 2, groups=hidden, bias=False
            ),
            nn.BatchNorm2d(hidden, affine=affine),
            nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
        )

    def forward(
        self, x: Tensor, probability: float = 0.0, batch_share: BatchShare = None
    ) -> Tensor:
        """Return the block's output; in training, ``drop_path`` may drop the residual branch."""
        y: Tensor = self.layers(x)
        if not self.residual:
            return y
        if probability > 0 and self.training:
            y = drop_path(y, probability, batch_share)
        return x + y


def make_operation(name: str, plan: BlockPlan, *, affine: bool = True) -> nn.Module:
    """Build one of ``plan.candidates``; ``affine`` is whether batch norms have scale and shift.

    Raises:
        ValueError: The operation is not among the candidates.
    """
    if name not in plan.candidates:
        raise ValueError(
            f"unknown operation {name!r} of a block of the group {plan.group}; "
            f"choose from {', '.join(plan.candidates)}"
        )
    if name == "skip_connect":
        return nn.Identity()
    kernel, expansion = map(int, re.findall(r"\d", name))
    return InvertedResidual(
        plan.inputs, plan.outputs, plan.stride, kernel=kernel, expansion=expansion, affine=affine
    )


def conv_norm(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Return the layers convolution, batch norm and ReLU6, which keep the image size."""
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    ]


def make_stem(in_channels: int, channels: int) -> nn.Sequential:
    """Return a 3x3 convolution with batch norm and ReLU6.

    Shape: ``(B, in_channels, H, W)`` -> ``(B, channels, H, W)``.
    """
    return nn.Sequential(*conv_norm(in_channels, channels, 3))


def make_head(channels: int, classes: int) -> nn.Sequential:
    """Return a pointwise convolution to four times the width, average pooling and a classifier.

    Shape: ``(B, channels, H, W)`` -> logits ``(B, classes)``.
    """
    wide = 4 * channels
    return nn.Sequential(
        *conv_norm(channels, wide, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(wide, classes),
    )
