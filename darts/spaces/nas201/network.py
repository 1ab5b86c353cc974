"""Discrete network of a NAS-Bench-201 genotype.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1 and figure 1.
"""

from __future__ import annotations

from functools import reduce
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.checks import check_positive, reject_auxiliary_head
from darts.spaces.cnn.network import drop_path
from darts.spaces.cnn.operations import remove_leading_relu
from darts.spaces.nas201.genotype import NODES, Genotype
from darts.spaces.nas201.skeleton import (
    Head,
    ResidualBlock,
    last_channels,
    make_operation,
    make_stem,
    plan_layers,
)
from darts.spaces.network import NetworkBase
from darts.spaces.rank_dropout import BatchShare


class Cell(nn.Module):
    """One discrete cell. The ReLU and the pooling of a node are computed once.

    Shape: ``(B, channels, H, W)`` -> the same.
    """

    def __init__(self, channels: int, genotype: Genotype) -> None:
        super().__init__()
        used = [(n, edge) for n, edge in enumerate(genotype.edges()) if edge[2] != "none"]
        self.module_index = {edge: index for index, (edge, _) in enumerate(used)}
        self.connections = [(source, target) for _, (source, target, _) in used]
        self.operations = nn.ModuleList(make_operation(name, channels) for _, (_, _, name) in used)
        self.reads_rectified = [remove_leading_relu(operation) for operation in self.operations]

    def forward(self, x: Tensor, probability: float, batch_share: BatchShare) -> Tensor:
        nodes = [x]
        views: dict[tuple[int, str], Tensor] = {}
        terms: list[list[Tensor]] = [[] for _ in range(NODES)]
        edges = list(zip(self.connections, self.reads_rectified, self.operations, strict=True))
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
                # An identity is never dropped, so that a path remains.
                droppable = not isinstance(operation, nn.Identity)
                if probability > 0 and self.training and droppable:
                    y = drop_path(y, probability, batch_share)
                terms[node].append(y)
            nodes.append(reduce(torch.add, terms[node]) if terms[node] else torch.zeros_like(x))
        return nodes[-1]


class Network(NetworkBase):
    """Three stages of cells with residual blocks in between.

    Args:
        genotype: The cell.
        channels: Width of the first stage; it doubles with each stage.
        cells: Number of cells in each of the three stages.
        classes: Number of classes.
        in_channels: Channels of the images.
        auxiliary: Must be False; the space has no auxiliary head.
        drop_path: Probability of dropping the output of an operation for a sample, in training;
            identities are never dropped.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.

    Raises:
        ValueError: A size that is not positive, a probability outside [0, 1), or an auxiliary head.
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
        super().__init__(genotype, drop_path)
        check_positive(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
        reject_auxiliary_head("nas201", auxiliary)
        self.stem = make_stem(in_channels, channels)
        self.layers = nn.ModuleList(
            Cell(layer.outputs, genotype)
            if layer.is_cell
            else ResidualBlock(layer.inputs, layer.outputs)
            for layer in plan_layers(channels, cells)
        )
        self.head = Head(last_channels(channels), classes)

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[True]) -> tuple[Tensor, None]: ...

    def forward(self, images: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Return logits; with ``auxiliary``, ``(logits, None)`` as there is no auxiliary head."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for layer in self.layers:
            x = layer(x, self.drop_path, self.batch_share) if isinstance(layer, Cell) else layer(x)
        logits = self.head(x)
        return (logits, None) if auxiliary else logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def edge_modules(self, cell: str, edge: int) -> list[tuple[nn.Module, str]]:
        return [
            (layer.operations, str(layer.module_index[edge]))
            for layer in self.layers
            if isinstance(layer, Cell) and edge in layer.module_index
        ]
