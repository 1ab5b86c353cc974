"""What the supernet and the discrete network have in common: stems, the plan of cells, edges.

References:
    DARTS, arXiv:1806.09055, section 3.1: cells at 1/3 and 2/3 of the depth halve the image and
    double the channels; appendix A.2 for the ImageNet stem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from darts.spaces.cnn.operations import FactorizedReduce, relu_conv_norm

STEMS = ("small", "imagenet")
CELLS = ("normal", "reduce")


@dataclass(frozen=True)
class CellPlan:
    """Place of one cell in the stack: input widths, own width, and what shrinks."""

    index: int
    kind: str  # "normal" or "reduce"
    before_previous: int  # channels of the output of the cell before the previous one
    previous: int  # channels of the output of the previous cell
    channels: int  # channels of this cell's nodes
    reduced_before: bool  # whether the previous cell halved the image


def edges(nodes: int) -> list[tuple[int, int]]:
    """All ``(source, node)`` pairs of a cell, node by node and input by input.

    States 0 and 1 are the outputs of the two cells before; nodes are states 2 and up. Four nodes
    have 14 edges.
    """
    return [(source, node) for node in range(2, nodes + 2) for source in range(node)]


def count_nodes(rows: int) -> int:
    """How many nodes a cell of so many edges has: n nodes have 2 + 3 + ... + (n + 1) of them.

    Raises:
        ValueError: when no cell has so many.
    """
    for nodes in range(1, rows + 1):
        if len(edges(nodes)) == rows:
            return nodes
    raise ValueError(f"a cell has 2, 5, 9, 14, 20, ... edges, not {rows}")


class SmallStem(nn.Module):
    """For images of up to about 64 pixels: one 3x3 convolution, nothing shrinks.

    Shape: ``(B, in_channels, H, W)`` -> two times the same ``(B, width, H, W)``.
    """

    reduces = False

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.layers(images)
        return x, x


class ImageNetStem(nn.Module):
    """For large images: three 3x3 convolutions of stride 2.

    Shape: ``(B, in_channels, H, W)`` -> ``(B, width, H/4, W/4)`` and ``(B, width, H/8, W/8)``,
    sides rounded up at each halving.
    """

    reduces = True

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        half = max(width // 2, 1)
        self.quarter = nn.Sequential(
            nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.eighth = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        quarter = self.quarter(images)
        return quarter, self.eighth(quarter)


def make_stem(kind: str, in_channels: int, channels: int) -> tuple[SmallStem | ImageNetStem, int]:
    """The stem and its output width: three times ``channels`` for small images, once for large.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind == "small":
        return SmallStem(in_channels, 3 * channels), 3 * channels
    if kind == "imagenet":
        return ImageNetStem(in_channels, channels), channels
    raise ValueError(f"unknown stem {kind!r}; choose from {', '.join(STEMS)}")


def kind_of(index: int, cells: int) -> str:
    """Kind of a cell: those at a third and two thirds of the depth are reduction cells."""
    return "reduce" if index in (cells // 3, 2 * cells // 3) else "normal"


def plan_cells(
    channels: int,
    cells: int,
    *,
    stem_width: int,
    stem_reduces: bool,
    outputs: dict[str, int],
) -> Iterator[CellPlan]:
    """Walk down the stack; cells ``cells // 3`` and ``2 * cells // 3`` are reduction cells.

    Args:
        channels: width of the first cell's nodes; doubles at each reduction.
        cells: number of cells.
        stem_width: channels that the stem puts out.
        stem_reduces: whether the stem's second output is half the size of its first.
        outputs: for each kind of cell, how many nodes are concatenated as its output.
    """
    before_previous = previous = stem_width
    reduced_before = stem_reduces
    for index in range(cells):
        kind = kind_of(index, cells)
        if kind == "reduce":
            channels *= 2
        yield CellPlan(index, kind, before_previous, previous, channels, reduced_before)
        before_previous, previous = previous, outputs[kind] * channels
        reduced_before = kind == "reduce"


def make_preprocessing(plan: CellPlan, *, affine: bool) -> tuple[nn.Module, nn.Module]:
    """What brings the two inputs of a cell to its width and to one size."""
    first: nn.Module
    if plan.reduced_before:
        first = FactorizedReduce(plan.before_previous, plan.channels, affine=affine)
    else:
        first = relu_conv_norm(plan.before_previous, plan.channels, affine=affine)
    return first, relu_conv_norm(plan.previous, plan.channels, affine=affine)


def check_positive(**values: int) -> None:
    """Raise ValueError, naming the argument, unless each value is a whole number above zero."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
