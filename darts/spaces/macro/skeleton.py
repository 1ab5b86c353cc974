"""Layers that the supernet and the discrete network of the macro space share.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381, section 3.3 and tables 1 and 2: the inverted
    residual block, and a last pointwise convolution to four times the width.
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 4.1: the candidates of a block.
    Wu et al., "FBNet", arXiv:1812.03443, table 1: a macro-architecture with a choice per block.
    Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search", arXiv:2103.11922,
    section 5: NAS-Bench-Macro, whose skeleton is ``nasbench``.
    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498, sections 3.1, 3.2
    and A: the skeleton ``fast``: whitened patches, Dirac initialization, widths, pooling, scaled
    logits.
    Liu et al., "A ConvNet for the 2020s", arXiv:2201.03545, section 2.4: ``convnext_k7``.
    Srinivas et al., arXiv:2101.11605, section 3: ``attention``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from torch import nn

from darts.ops.pointwise import PointwiseConv2d
from darts.spaces.cnn.operations import DepthwiseConv2d
from darts.spaces.deriving import check_candidate
from darts.spaces.macro.fast_layers import (
    Activation,
    GlobalAttention,
    GridPool2d,
    MaxClassifier,
    Residual,
    WhitenedPatches,
    convnext_block,
    count_components,
)
from darts.spaces.macro.genotype import CONVOLUTIONS, KEEP_SHAPE, PRIMITIVES, PROJECTION, STAGES


class Skeleton(NamedTuple):
    """What all networks of a space have in common, apart from their width.

    Attributes:
        operations: The candidates of a block. The first block of a stage cannot be one of
            ``KEEP_SHAPE``, the others cannot be ``conv_1x1``.
        depths: Number of blocks in each stage; None if the space's ``cells`` sets it.
        stride: Stride of the first stage. The later stages have stride 2.
        pools: Whether max pooling halves the images in the first block of a stage, instead of its
            stride; before its operation.
        fast: Whether the network is built for few epochs: its stem is a ``WhitenedPatches``,
            convolutions begin as the identity and are before the pooling, and its head is a
            ``MaxClassifier``.
        widths: Width of each stage divided by the width of the first.
        stem: Width of the first stage divided by the width of the stem, a 3x3 convolution.
        head: Width of the last convolution, which is pointwise, divided by the width of the last
            stage; 0 for no such convolution.
        positions: Side of the grid to which the last feature map is pooled.
        activation: Activation function of all blocks, the stem and the head.
        benchmark: Name of the benchmark table with all architectures, or None.
    """

    operations: tuple[str, ...] = PRIMITIVES
    depths: tuple[int, ...] | None = None
    stride: int = 1
    pools: bool = False
    fast: bool = False
    widths: tuple[int, ...] = (1, 2, 4)
    stem: int = 1
    head: int = 4
    positions: int = 1
    activation: Activation = nn.ReLU6
    channels: int = 16
    benchmark: str | None = None

    def stage_depths(self, cells: int) -> tuple[int, ...]:
        return self.depths or (cells,) * STAGES

    def candidates(self, group: str) -> tuple[str, ...]:
        excluded = KEEP_SHAPE if group == "first" else (PROJECTION,)
        return tuple(name for name in self.operations if name not in excluded)


STANDARD = Skeleton()

# Networks that learn in few epochs. With two `conv_3x3` per stage and 64 channels, nearly the
# network of the paper.
FAST = Skeleton(
    operations=(*CONVOLUTIONS, "res_3x3", "mb_k3_e3", "convnext_k7", "attention", "skip_connect"),
    stride=2,
    pools=True,
    fast=True,
    widths=(1, 4, 4),
    head=0,
    activation=nn.GELU,
    channels=64,
)

# The values of `space.skeleton`.
SKELETONS: dict[str, Skeleton] = {
    "standard": STANDARD,
    # With 64 channels, the networks of NAS-Bench-Macro: widths 32 (stem), 64, 128, 256 and 1280.
    "nasbench": Skeleton(
        operations=("mb_k3_e3", "mb_k5_e6", PROJECTION, "skip_connect"),
        depths=(2, 3, 3),
        stride=2,
        stem=2,
        head=5,
        activation=nn.ReLU,
        channels=64,
        benchmark="macro",
    ),
    # Plain convolutional networks. The classifier distinguishes 4x4 positions. On small data, max
    # pooling is more accurate than strides.
    "plain": Skeleton(
        operations=(*CONVOLUTIONS, "mb_k3_e3", "mb_k5_e3", "skip_connect"),
        stride=2,
        pools=True,
        stem=2,
        head=0,
        positions=4,
        activation=nn.ReLU,
        channels=64,
    ),
    **{name: FAST._replace(positions=side) for name, side in (("fast", 1), ("fast_grid", 3))},
}


class BlockPlan(NamedTuple):
    """Shape of one block and its place among the alphas."""

    inputs: int
    outputs: int
    stride: int  # 2 if the block halves the image, else 1
    group: str  # "first" for the first block of a stage, "rest" for the others
    row: int
    skeleton: Skeleton = STANDARD

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.skeleton.candidates(self.group)


def plan_blocks(
    channels: int, cells: int, skeleton: Skeleton = STANDARD, in_channels: int = 3
) -> Iterator[BlockPlan]:
    """Yield the plans of all blocks; here and below, ``channels`` is the width of stage 1."""
    width, rest = stem_channels(channels, skeleton, in_channels), count()
    for stage, depth in enumerate(skeleton.stage_depths(cells)):
        stage_width, stride = channels * skeleton.widths[stage], 2 if stage else skeleton.stride
        yield BlockPlan(width, stage_width, stride, "first", stage, skeleton)
        width = stage_width
        for _ in range(depth - 1):
            yield BlockPlan(width, width, 1, "rest", next(rest), skeleton)


def stem_channels(channels: int, skeleton: Skeleton, in_channels: int) -> int:
    if skeleton.fast:
        return 2 * count_components(in_channels)
    return max(1, channels // skeleton.stem)


def conv_norm(
    inputs: int, outputs: int, kernel: int, activation: Activation, *, affine: bool = True
) -> list[nn.Module]:
    """Return the layers convolution, batch norm and activation, which keep the image size."""
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, affine=affine),
        activation(),
    ]


class InvertedResidual(Residual):
    """A pointwise convolution to more channels, a depthwise and a linear pointwise convolution.

    If input and output have the same shape, the input is added. The depthwise convolution has
    ``expansion`` times as many channels as the input.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(
        self, plan: BlockPlan, kernel: int, expansion: int, *, affine: bool = True
    ) -> None:
        hidden, activation = expansion * plan.inputs, plan.skeleton.activation
        super().__init__(
            *conv_norm(plan.inputs, hidden, 1, activation, affine=affine),
            DepthwiseConv2d(
                hidden, hidden, kernel, plan.stride, padding=kernel // 2, groups=hidden, bias=False
            ),
            nn.BatchNorm2d(hidden, affine=affine),
            activation(),
            nn.Conv2d(hidden, plan.outputs, 1, bias=False),
            nn.BatchNorm2d(plan.outputs, affine=affine),
            residual=plan.stride == 1 and plan.inputs == plan.outputs,
        )


def make_operation(name: str, plan: BlockPlan, *, affine: bool = True) -> nn.Module:
    """Build one of ``plan.candidates``."""
    check_candidate(name, plan.candidates, f"a block of the group {plan.group}")
    activation = plan.skeleton.activation
    pools = plan.skeleton.pools and plan.stride == 2
    pools_after = pools and plan.skeleton.fast and name in CONVOLUTIONS
    if pools and not pools_after:
        operation = make_operation(name, plan._replace(stride=1), affine=affine)
        return nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), operation)
    if name == "skip_connect":
        return nn.Identity()
    if name == PROJECTION:
        return nn.Sequential(
            PointwiseConv2d(plan.inputs, plan.outputs, stride=plan.stride),
            nn.BatchNorm2d(plan.outputs, affine=affine),
        )
    if name in CONVOLUTIONS:
        kernel, stride = int(name[-1]), 1 if pools_after else plan.stride
        conv = nn.Conv2d(plan.inputs, plan.outputs, kernel, stride, padding=kernel // 2, bias=False)
        if plan.skeleton.fast:  # begins with a copy of its input in the first channels
            nn.init.dirac_(conv.weight[: min(plan.inputs, plan.outputs)])
        pooling = [nn.MaxPool2d(2, ceil_mode=True)] if pools_after else []
        norm = nn.BatchNorm2d(plan.outputs, affine=affine)
        return nn.Sequential(conv, *pooling, norm, activation())
    if name == "res_3x3":
        return Residual(*conv_norm(plan.inputs, plan.inputs, 3, activation, affine=affine))
    if name == "convnext_k7":
        return convnext_block(plan.inputs, activation, affine=affine)
    if name == "attention":
        return Residual(nn.BatchNorm2d(plan.inputs, affine=affine), GlobalAttention(plan.inputs))
    kernel, expansion = map(int, re.findall(r"\d", name))
    return InvertedResidual(plan, kernel, expansion, affine=affine)


def make_stem(in_channels: int, channels: int, skeleton: Skeleton = STANDARD) -> nn.Sequential:
    """Return a 3x3 convolution with batch norm and activation, or whitened patches.

    Shape: ``(B, in_channels, H, W)`` -> ``(B, stem_channels(...), H, W)``.
    """
    if skeleton.fast:
        return nn.Sequential(WhitenedPatches(in_channels))
    width = stem_channels(channels, skeleton, in_channels)
    return nn.Sequential(*conv_norm(in_channels, width, 3, skeleton.activation))


def make_head(channels: int, classes: int, skeleton: Skeleton = STANDARD) -> nn.Sequential:
    """Return pooling and a classifier, perhaps after a pointwise convolution.

    Shape: ``(B, channels of the last stage, H, W)`` -> logits ``(B, classes)``.
    """
    channels *= skeleton.widths[-1]
    if skeleton.fast:
        return nn.Sequential(MaxClassifier(channels, classes, skeleton.positions))
    layers: list[nn.Module] = []
    if skeleton.head:
        layers = conv_norm(channels, skeleton.head * channels, 1, skeleton.activation)
        channels *= skeleton.head
    side = skeleton.positions
    pooling = nn.AdaptiveAvgPool2d(1) if side == 1 else GridPool2d(side)
    return nn.Sequential(*layers, pooling, nn.Flatten(), nn.Linear(side**2 * channels, classes))
