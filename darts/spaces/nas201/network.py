"""The discrete network of a NAS-Bench-201 genotype, for training from scratch.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1 and figure 1.
"""

from __future__ import annotations

from functools import reduce
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.network import drop_path
from darts.spaces.cnn.rectified import leave_relu_out
from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.nas201.genotype import NODES, Genotype
from darts.spaces.nas201.skeleton import (
    Head,
    ResidualBlock,
    last_channels,
    make_operation,
    make_stem,
    plan_layers,
)


class Cell(nn.Module):
    """One discrete cell. A node's ReLU and its pooling are computed once.

    Shape: ``(B, channels, H, W)`` -> the same.
    """

    def __init__(self, channels: int, genotype: Genotype) -> None:
        super().__init__()
        kept = [edge for edge in genotype.edges() if edge[2] != "none"]
        numbers = [n for n, edge in enumerate(genotype.edges()) if edge[2] != "none"]
        self.places_of = {number: place for place, number in enumerate(numbers)}  # of edges
        self.places = [(source, target) for source, target, _ in kept]
        self.operations = nn.ModuleList(make_operation(name, channels) for _, _, name in kept)
        self.rectified = [leave_relu_out(operation) for operation in self.operations]

    def forward(self, x: Tensor, probability: float, rows: tuple[int, int] | None) -> Tensor:
        nodes = [x]
        views: dict[tuple[int, str], Tensor] = {}
        terms: list[list[Tensor]] = [[] for _ in range(NODES)]
        edges = list(zip(self.places, self.rectified, self.operations, strict=True))
        for node in range(1, NODES):
            for (source, target), rectified, operation in edges:
                if target != node:
                    continue
                y = nodes[source]
                if rectified:
                    if (source, "rectified") not in views:
                        views[source, "rectified"] = F.relu(y)
                    y = operation(views[source, "rectified"])
                elif isinstance(operation, nn.AvgPool2d):
                    if (source, "pooled") not in views:
                        views[source, "pooled"] = operation(y)
                    y = views[source, "pooled"]
                else:
                    y = operation(y)
                # An identity is never dropped: it is what keeps the path open.
                dropped = not isinstance(operation, nn.Identity)
                if probability > 0 and self.training and dropped:
                    y = drop_path(y, probability, rows)
                terms[node].append(y)
            nodes.append(reduce(torch.add, terms[node]) if terms[node] else torch.zeros_like(x))
        return nodes[-1]


class Network(nn.Module):
    """The network that stacks a genotype's cells.

    Args:
        genotype: the cell.
        channels: width of the first stage (16 in the benchmark); each later one is twice as wide.
        cells: number of cells in each of the three stages (5 in the benchmark).
        classes: number of classes.
        in_channels: channels of the images.
        auxiliary: the space has no auxiliary head, so this must be False.
        drop_path: probability with which the output of an operation that is not an identity is
            dropped for a sample, in training; the attribute may be changed from epoch to epoch.

    Attributes:
        rows: what ``drop_path`` needs to know when images are a part of a larger batch, or None.
        auxiliary: None.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive, a probability outside [0, 1), or an auxiliary
            head.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 16,
        cells: int = 5,
        classes: int = 10,
        in_channels: int = 3,
        auxiliary: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path must be at least 0 and below 1, got {drop_path!r}")
        if auxiliary:
            raise ValueError("networks of the nas201 space have no auxiliary head; set auxiliary=0")
        self.genotype = genotype
        self.drop_path = drop_path
        self.rows: tuple[int, int] | None = None
        self.auxiliary: nn.Module | None = None
        self.stem = make_stem(in_channels, channels)
        self.layers = nn.ModuleList(
            Cell(layer.outputs, genotype) if layer.is_cell else ResidualBlock(*layer)
            for layer in plan_layers(channels, cells)
        )
        self.head = Head(last_channels(channels), classes)

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[True]) -> tuple[Tensor, None]: ...

    def forward(self, images: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Logits of a batch.

        Args:
            images: ``(B, in_channels, H, W)``.
            auxiliary: return ``(logits, None)``, as networks with an auxiliary head do.
        """
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for layer in self.layers:
            x = layer(x, self.drop_path, self.rows) if isinstance(layer, Cell) else layer(x)
        logits = self.head(x)
        return (logits, None) if auxiliary else logits

    def carriers(self, cell: str, edge: int) -> list[tuple[nn.Module, str]]:
        """Modules and attributes that hold the operation of a genotype's edge; of ``none`` none."""
        cells = [layer for layer in self.layers if isinstance(layer, Cell)]
        places = [(own.operations, own.places_of.get(edge)) for own in cells]
        return [(operations, str(place)) for operations, place in places if place is not None]
