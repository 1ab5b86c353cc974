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
from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

from torch import nn

from darts.ops.pointwise import PointwiseConv2d
from darts.spaces.cnn.operations import DepthwiseConv2d
from darts.spaces.deriving import check_candidate
from darts.spaces.macro.fast_layers import (
    Activation,
    Excitation,
    GlobalAttention,
    GridPool2d,
    MaxClassifier,
    Residual,
    SumConv2d,
    WhitenedPatches,
    begin_as_identity,
    convnext_block,
    count_components,
)
from darts.spaces.macro.genotype import (
    CONVOLUTIONS,
    EXCITE,
    KEEP_SHAPE,
    PRIMITIVES,
    PROJECTION,
    STAGES,
    Genotype,
    Kernel,
    Shape,
    kernels_of,
)


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
    width, depths = stem_channels(channels, skeleton, in_channels), skeleton.stage_depths(cells)
    widths = [channels * factor for factor in skeleton.widths]
    return _plan_stages(width, widths, (skeleton.stride, 2, 2), depths, skeleton)


def plan_shaped_blocks(genotype: Genotype, shape: Shape, in_channels: int) -> Iterator[BlockPlan]:
    """Yield the plans of all blocks of a genotype with a shape; the blocks are as in FAST."""
    width = stem_channels(0, FAST, in_channels)
    return _plan_stages(width, shape.widths, shape.pools, genotype.depths, FAST)


def _plan_stages(
    width: int,
    widths: Sequence[int],
    strides: Sequence[int],
    depths: Sequence[int],
    skeleton: Skeleton,
) -> Iterator[BlockPlan]:
    rest = count()
    stages = zip(widths, strides, depths, strict=True)
    for stage, (stage_width, stride, depth) in enumerate(stages):
        yield BlockPlan(width, stage_width, stride, "first", stage, skeleton)
        width = stage_width
        for _ in range(depth - 1):
            yield BlockPlan(width, width, 1, "rest", next(rest), skeleton)


def stem_channels(channels: int, skeleton: Skeleton, in_channels: int) -> int:
    if skeleton.fast:
        return 2 * count_components(in_channels)
    return max(1, channels // skeleton.stem)


def conv_norm(
    inputs: int,
    outputs: int,
    kernels: Sequence[Kernel],
    activation: Activation,
    *,
    stride: int = 1,
    affine: bool = True,
) -> list[nn.Module]:
    """Return the layers convolution, batch norm and activation; stride 1 keeps the image size."""
    return [
        SumConv2d(inputs, outputs, kernels, stride),
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
            *conv_norm(plan.inputs, hidden, [Kernel(1)], activation, affine=affine),
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
    """Build one of ``plan.candidates``.

    In networks of a ``fast`` skeleton, blocks that add their input begin as the identity.
    """
    check_candidate(name, plan.candidates, f"a block of the group {plan.group}")
    return make_block(name, plan, affine=affine)


def make_block(name: str, plan: BlockPlan, *, affine: bool = True) -> nn.Module:
    """Build an operation, which need not be one of ``plan.candidates``."""
    block = _make_block(name, plan, affine=affine)
    if plan.skeleton.fast and affine and isinstance(block, Residual) and block.residual:
        begin_as_identity(block)
    return block


def _make_block(name: str, plan: BlockPlan, *, affine: bool) -> nn.Module:
    activation, fast = plan.skeleton.activation, plan.skeleton.fast
    kernels = kernels_of(name)
    pools = plan.skeleton.pools and plan.stride == 2
    pools_after = pools and fast and name.startswith("conv_") and bool(kernels)
    if pools and not pools_after:
        operation = _make_block(name, plan._replace(stride=1), affine=affine)
        return nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), operation)
    if name == "skip_connect":
        return nn.Identity()
    if name == PROJECTION:
        return nn.Sequential(
            PointwiseConv2d(plan.inputs, plan.outputs, stride=plan.stride),
            nn.BatchNorm2d(plan.outputs, affine=affine),
        )
    if name == EXCITE:
        return Residual(Excitation(plan.inputs))
    if name == "convnext_k7":
        return convnext_block(plan.inputs, activation, affine=affine)
    if name == "attention":
        return Residual(nn.BatchNorm2d(plan.inputs, affine=affine), GlobalAttention(plan.inputs))
    if kernels and name.startswith("res_"):
        return Residual(*conv_norm(plan.inputs, plan.inputs, kernels, activation, affine=affine))
    if kernels:
        stride = 1 if pools_after else plan.stride
        conv, norm, act = conv_norm(
            plan.inputs, plan.outputs, kernels, activation, stride=stride, affine=affine
        )
        if fast:  # begins with a copy of its input in the first channels
            assert isinstance(conv, nn.Conv2d)
            nn.init.dirac_(conv.weight[: min(plan.inputs, plan.outputs)])
        pooling = [nn.MaxPool2d(2, ceil_mode=True)] if pools_after else []
        return nn.Sequential(conv, *pooling, norm, act)
    kernel, expansion = map(int, re.findall(r"\d", name))
    return InvertedResidual(plan, kernel, expansion, affine=affine)


def make_stem(in_channels: int, channels: int, skeleton: Skeleton = STANDARD) -> nn.Sequential:
    """Return a 3x3 convolution with batch norm and activation, or whitened patches.

    Shape: ``(B, in_channels, H, W)`` -> ``(B, stem_channels(...), H, W)``.
    """
    if skeleton.fast:
        return nn.Sequential(WhitenedPatches(in_channels))
    width = stem_channels(channels, skeleton, in_channels)
    return nn.Sequential(*conv_norm(in_channels, width, [Kernel(3)], skeleton.activation))


def make_head(channels: int, classes: int, skeleton: Skeleton = STANDARD) -> nn.Sequential:
    """Return pooling and a classifier, perhaps after a pointwise convolution.

    Shape: ``(B, channels of the last stage, H, W)`` -> logits ``(B, classes)``.
    """
    channels *= skeleton.widths[-1]
    if skeleton.fast:
        return nn.Sequential(MaxClassifier(channels, classes, skeleton.positions))
    layers: list[nn.Module] = []
    if skeleton.head:
        layers = conv_norm(channels, skeleton.head * channels, [Kernel(1)], skeleton.activation)
        channels *= skeleton.head
    side = skeleton.positions
    pooling = nn.AdaptiveAvgPool2d(1) if side == 1 else GridPool2d(side)
    return nn.Sequential(*layers, pooling, nn.Flatten(), nn.Linear(side**2 * channels, classes))
