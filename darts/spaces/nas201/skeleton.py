"""Layers that the supernet and the discrete network of NAS-Bench-201 share.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1 and figure 1: a stem, three
    stages of cells with a residual block of stride 2 between them, and a classifier.
    He et al., "Deep Residual Learning", arXiv:1512.03385: the residual block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.operations import Zero
from darts.spaces.nas201.genotype import PRIMITIVES

STAGES = 3


def relu_conv_norm(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, affine: bool = True
) -> nn.Sequential:
    """Return ReLU, convolution and batch norm.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, affine=affine),
    )


Factory: TypeAlias = Callable[[int, bool], nn.Module]
"""Builds an operation from its channels and whether batch norms are affine."""

FACTORIES: dict[str, Factory] = {
    "none": lambda channels, affine: Zero(1),
    "skip_connect": lambda channels, affine: nn.Identity(),
    "nor_conv_1x1": lambda channels, affine: relu_conv_norm(channels, channels, 1, affine=affine),
    "nor_conv_3x3": lambda channels, affine: relu_conv_norm(channels, channels, 3, affine=affine),
    "avg_pool_3x3": lambda channels, affine: nn.AvgPool2d(
        3, stride=1, padding=1, count_include_pad=False
    ),
}


def make_operation(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """Build one of ``PRIMITIVES``; all of them keep the shape ``(B, channels, H, W)``.

    ``affine`` says whether batch norms have scale and shift.
    """
    if name not in FACTORIES:
        raise ValueError(f"unknown operation {name!r}; choose from {', '.join(PRIMITIVES)}")
    return FACTORIES[name](channels, affine)


def check_operations(operations: Sequence[str]) -> tuple[str, ...]:
    """Return the operations as a tuple.

    Raises:
        ValueError: No operation, an unknown one, or one that occurs twice.
    """
    for name in operations:
        if name not in FACTORIES:
            raise ValueError(f"unknown operation {name!r}; choose from {', '.join(PRIMITIVES)}")
    if not operations or len(set(operations)) != len(operations):
        raise ValueError(
            f"operations must be distinct names of {', '.join(PRIMITIVES)}, not {list(operations)}"
        )
    return tuple(operations)


class ResidualBlock(nn.Module):
    """The block between two stages; it halves the image and changes the channels.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H/2), ceil(W/2))``.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = relu_conv_norm(inputs, outputs, 3, stride=2)
        self.second = relu_conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Sequential(
            # The last window of an odd side averages the remaining pixels.
            nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.shortcut(x) + self.second(self.first(x))
        return output


class Head(nn.Module):
    """Batch norm, ReLU, global average pooling and classifier.

    Shape: ``(B, channels, H, W)`` -> logits ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(F.relu(self.norm(x)).mean(dim=(2, 3)))
        return logits


def make_stem(in_channels: int, channels: int) -> nn.Sequential:
    """Return a 3x3 convolution with norm, ``(B, in_channels, H, W)`` -> ``(B, channels, H, W)``."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    )


class Layer(NamedTuple):
    """Input and output channels of one layer: a cell if they are equal, else a residual block."""

    inputs: int
    outputs: int

    @property
    def is_cell(self) -> bool:
        return self.inputs == self.outputs


def plan_layers(channels: int, cells: int) -> Iterator[Layer]:
    """Yield the layers between stem and head; ``cells`` is the number of cells in each stage."""
    for stage in range(STAGES):
        if stage:
            yield Layer(channels, 2 * channels)
            channels *= 2
        for _ in range(cells):
            yield Layer(channels, channels)


def last_channels(channels: int) -> int:
    """Return the width of the last stage."""
    return channels << (STAGES - 1)
