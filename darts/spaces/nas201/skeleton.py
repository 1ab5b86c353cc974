"""What the supernet and the discrete network of NAS-Bench-201 are made of.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1 and figure 1: a stem, three
    stages of cells with a residual block of stride 2 between them, and a classifier.
    The residual block is that of He et al., "Deep Residual Learning", arXiv:1512.03385.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.operations import Zero
from darts.spaces.nas201.genotype import PRIMITIVES

STAGES = 3


def relu_conv_norm(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, affine: bool = True
) -> nn.Sequential:
    """ReLU, convolution, batch norm.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, affine=affine),
    )


# name -> (channels, affine) -> module
FACTORIES: dict[str, Callable[[int, bool], nn.Module]] = {
    "none": lambda channels, affine: Zero(1),
    "skip_connect": lambda channels, affine: nn.Identity(),
    "nor_conv_1x1": lambda channels, affine: relu_conv_norm(channels, channels, 1, affine=affine),
    "nor_conv_3x3": lambda channels, affine: relu_conv_norm(channels, channels, 3, affine=affine),
    "avg_pool_3x3": lambda channels, affine: nn.AvgPool2d(
        3, stride=1, padding=1, count_include_pad=False
    ),
}


def make_operation(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """Build one operation, which keeps the shape ``(B, channels, H, W)``.

    Args:
        name: of ``PRIMITIVES``.
        channels: channels in and out.
        affine: whether batch norms have scale and shift.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in FACTORIES:
        raise ValueError(f"unknown operation {name!r}; choose from {', '.join(PRIMITIVES)}")
    return FACTORIES[name](channels, affine)


def check_operations(operations: Sequence[str]) -> tuple[str, ...]:
    """The operations as a tuple (``ValueError`` for none at all, an unknown or a repeated one)."""
    for name in operations:
        if name not in FACTORIES:
            raise ValueError(f"unknown operation {name!r}; choose from {', '.join(PRIMITIVES)}")
    if not operations or len(set(operations)) != len(operations):
        raise ValueError(
            f"operations must be distinct names of {', '.join(PRIMITIVES)}, not {list(operations)}"
        )
    return tuple(operations)


class ResidualBlock(nn.Module):
    """What stands between two stages: half the image, twice the channels.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H/2), ceil(W/2))``.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = relu_conv_norm(inputs, outputs, 3, stride=2)
        self.second = relu_conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Sequential(
            # The last window of an odd side averages the pixels that there are.
            nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.first(x))


class Head(nn.Module):
    """Batch norm, ReLU, global average pooling and the classifier.

    Shape: ``(B, channels, H, W)`` -> logits ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.relu(self.norm(x)).mean(dim=(2, 3)))


def make_stem(in_channels: int, channels: int) -> nn.Sequential:
    """A 3x3 convolution and its norm, ``(B, in_channels, H, W)`` -> ``(B, channels, H, W)``."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    )


class Layer(NamedTuple):
    """Place of one layer in the stack: a cell if it is as wide as its input, else a block."""

    inputs: int
    outputs: int

    @property
    def is_cell(self) -> bool:
        """Whether it is a cell and not a residual block."""
        return self.inputs == self.outputs


def plan_layers(channels: int, cells: int) -> Iterator[Layer]:
    """Walk down the stack between stem and head.

    Args:
        channels: width of the first stage; each stage is twice as wide as the one before.
        cells: number of cells a stage.
    """
    for stage in range(STAGES):
        if stage:
            yield Layer(channels, 2 * channels)
            channels *= 2
        for _ in range(cells):
            yield Layer(channels, channels)


def last_channels(channels: int) -> int:
    """Width of the last stage."""
    return channels * 2 ** (STAGES - 1)
