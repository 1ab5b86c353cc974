"""Stems and cell plans that the supernet and the discrete network share.

References:
    DARTS, arXiv:1806.09055. Section 3.1: cells at 1/3 and 2/3 of the depth halve the image and
    double the channels. Appendix A.2: ImageNet stem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from darts.spaces.cnn.operations import FactorizedReduce, relu_conv_norm
from darts.spaces.genotype import all_edges


@dataclass(frozen=True)
class CellPlan:
    """Position and widths of one cell of the stack.

    Attributes:
        before_previous: Output channels of the cell before the previous cell.
        reduced_before: Whether the previous cell halved the image.
    """

    group: str
    before_previous: int
    previous: int
    channels: int
    reduced_before: bool
    is_last: bool

    @property
    def node_stride(self) -> int:
        """Factor by which the nodes are smaller than the inputs of the cell."""
        return 2 if self.group == "reduce" else 1

    def stride(self, source: int) -> int:
        """Return the stride of an edge: 2 from an input of a reduction cell, else 1."""
        return self.node_stride if source < 2 else 1


def count_nodes(num_edges: int) -> int:
    """Return the number of nodes of a supernet cell: n nodes have 2 + 3 + ... + (n + 1) edges."""
    for nodes in range(1, num_edges + 1):
        if len(all_edges(nodes)) == num_edges:
            return nodes
    raise ValueError(f"a cell has 2, 5, 9, 14, 20, ... edges, not {num_edges}")


class SmallStem(nn.Module):
    """One 3x3 convolution that keeps the size, for images of up to about 64 pixels.

    Shape: ``(B, in_channels, H, W)`` -> twice the same ``(B, width, H, W)``.
    """

    reduces = False  # whether the second output has half the size of the first

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.layers(images)
        return x, x


class ImageNetStem(nn.Module):
    """Three 3x3 convolutions of stride 2, for large images.

    Shape: ``(B, in_channels, H, W)`` -> ``(B, width, H/4, W/4)`` and ``(B, width, H/8, W/8)``,
    sides rounded up at each halving.
    """

    reduces = True

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.width = width
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


Stem: TypeAlias = SmallStem | ImageNetStem


def make_stem(name: str, in_channels: int, channels: int, *, in_supernet: bool = False) -> Stem:
    """Return a stem with ``3 * channels`` outputs; ``channels`` is the width of the first nodes.

    The stem "imagenet" has ``channels`` outputs in a network (DARTS, cnn/model.py) and
    ``3 * channels`` in a supernet (PC-DARTS, model_search_imagenet.py).
    """
    if name == "small":
        return SmallStem(in_channels, 3 * channels)
    if name == "imagenet":
        return ImageNetStem(in_channels, 3 * channels if in_supernet else channels)
    raise ValueError(f"unknown stem {name!r}; choose from small, imagenet")


def plan_cells(channels: int, cells: int, stem: Stem, outputs: Mapping[str, int]) -> list[CellPlan]:
    """Return the plan of each cell; those at one and two thirds of the depth are reduction cells.

    A reduction cell doubles the width of the nodes, ``channels``. By group, ``outputs`` has the
    number of nodes that a cell concatenates.
    """
    before_previous = previous = stem.width
    reduced_before = stem.reduces
    plans = []
    for index in range(cells):
        group = "reduce" if index in (cells // 3, 2 * cells // 3) else "normal"
        if group == "reduce":
            channels *= 2
        is_last = index == cells - 1
        plans.append(CellPlan(group, before_previous, previous, channels, reduced_before, is_last))
        before_previous, previous = previous, outputs[group] * channels
        reduced_before = group == "reduce"
    return plans


def make_preprocessing(plan: CellPlan, index: int, *, affine: bool) -> nn.Module:
    """Return the module that brings input 0 or 1 of a cell to the common size and width."""
    if index == 0 and plan.reduced_before:
        return FactorizedReduce(plan.before_previous, plan.channels, affine=affine)
    inputs = (plan.before_previous, plan.previous)[index]
    return relu_conv_norm(inputs, plan.channels, affine=affine)
