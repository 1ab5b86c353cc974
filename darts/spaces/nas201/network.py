"""Discrete network of a NAS-Bench-201 genotype, and the layers that it shares with the supernet.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1 and figure 1.
    He et al., "Deep Residual Learning", arXiv:1512.03385: the residual block.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn import operations
from darts.spaces.cnn.operations import relu_conv_norm, remove_leading_relu
from darts.spaces.cnn.states import State, add_nodes
from darts.spaces.nas201.genotype import CONVOLUTIONS, NODES, Genotype
from darts.spaces.network import NetworkBase

STAGES = 3


def make_operation(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """Build a candidate; all of them keep the shape ``(B, channels, H, W)``."""
    if name in CONVOLUTIONS:
        return relu_conv_norm(channels, channels, int(name[-1]), affine=affine)
    return operations.make_operation(name, channels, 1, affine=affine)


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


def plan_layers(channels: int, cells: int) -> list[tuple[int, int]]:
    """Return input and output channels of the layers between stem and head.

    A layer is a cell if they are equal, else a residual block. ``cells`` is the number of cells in
    each stage.
    """
    layers: list[tuple[int, int]] = []
    for stage in range(STAGES):
        width = channels << stage
        layers += [(width // 2, width)] * (stage > 0) + [(width, width)] * cells
    return layers


class Cell(nn.Module):
    """One discrete cell, ``(B, channels, H, W)`` -> the same."""

    def __init__(self, channels: int, genotype: Genotype) -> None:
        super().__init__()
        used = [(n, edge) for n, edge in enumerate(genotype.edges()) if edge[2] != "none"]
        self.module_index = {edge: index for index, (edge, _) in enumerate(used)}
        self.connections = [(source, target) for _, (source, target, _) in used]
        self.operations = nn.ModuleList(make_operation(name, channels) for _, (_, _, name) in used)
        self.reads_rectified = [remove_leading_relu(operation) for operation in self.operations]

    def forward(self, x: Tensor, probability: float) -> Tensor:
        states = [State(x)]
        edges = list(zip(self.connections, self.reads_rectified, self.operations, strict=True))
        add_nodes(states, NODES - 1, edges, probability)
        return states[-1].value


class Network(NetworkBase):
    """Three stages of ``cells`` cells; the width, ``channels``, doubles with each stage.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 16,
        cells: int = 5,
        classes: int = 10,
        in_channels: int = 3,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, drop_path)
        self.stem = make_stem(in_channels, channels)
        plan = plan_layers(channels, cells)
        self.layers = nn.ModuleList(
            Cell(outputs, genotype) if inputs == outputs else ResidualBlock(inputs, outputs)
            for inputs, outputs in plan
        )
        self.head = Head(plan[-1][1], classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for layer in self.layers:
            x = layer(x, self.drop_path) if isinstance(layer, Cell) else layer(x)
        logits: Tensor = self.head(x)
        return logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.layers)
