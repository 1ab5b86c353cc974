"""Discrete network of a cell genotype.

References:
    DARTS, arXiv:1806.09055, section 3.2 and appendix A. Drop path: Larsson et al., "FractalNet",
    arXiv:1605.07648; applied per sample as in NASNet, arXiv:1707.07012.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.operations import make_operation, remove_leading_relu
from darts.spaces.cnn.skeleton import CellPlan, make_preprocessing, make_stem, plan_cells
from darts.spaces.cnn.states import State, add_nodes
from darts.spaces.genotype import Genotype
from darts.spaces.network import NetworkBase


class Cell(nn.Module):
    """One discrete cell: each node is the sum of its operations.

    Shape: two rectified states ``(B, C, H, W)`` -> ``(B, len(concat) * channels, H', W')``, not
    rectified.
    """

    def __init__(self, plan: CellPlan, genotype: Genotype) -> None:
        super().__init__()
        self.group = plan.group
        self.preprocess0 = make_preprocessing(plan, 0, affine=True)
        self.preprocess1 = make_preprocessing(plan, 1, affine=True)
        edges = genotype.edges(plan.group)
        self.nodes, self.concat = genotype.nodes(plan.group), genotype.concat(plan.group)
        self.connections = [(source, node) for source, node, _ in edges]
        self.operations = nn.ModuleList(
            make_operation(name, plan.channels, plan.stride(source)) for source, _, name in edges
        )
        for preprocess in (self.preprocess0, self.preprocess1):
            remove_leading_relu(preprocess)
        self.reads_rectified = [remove_leading_relu(operation) for operation in self.operations]

    def forward(self, before_previous: Tensor, previous: Tensor, probability: float) -> Tensor:
        states = [State(self.preprocess0(before_previous)), State(self.preprocess1(previous))]
        edges = list(zip(self.connections, self.reads_rectified, self.operations, strict=True))
        add_nodes(states, self.nodes, edges, probability)
        return torch.cat([states[node].value for node in self.concat], dim=1)


def pool_to_two(x: Tensor) -> Tensor:
    """Average-pool images of any size to 2x2 pixels, with overlapping windows.

    A side of n pixels has two windows of ceil(3n/5) pixels, one at each end. On 8x8 states
    (CIFAR-10) and on 7x7 states (ImageNet), this equals the published pooling of 5x5 pixels with
    stride 3 and stride 2, respectively.

    Shape: ``(B, C, H, W) -> (B, C, 2, 2)``.
    """
    height, width = x.shape[-2:]
    window = (-(-3 * height // 5), -(-3 * width // 5))
    # If a window covers the whole side, both windows are the same and expand() repeats the mean.
    stride = (height - window[0] or 1, width - window[1] or 1)
    return F.avg_pool2d(x, window, stride).expand(-1, -1, 2, 2)


class AuxiliaryHead(nn.Module):
    """A second classifier at two thirds of the depth, for training only.

    The networks that DARTS and PC-DARTS train on ImageNet have no ``second_norm`` (the authors'
    model.py says so).

    Shape: ``(B, C, H, W)`` of any size -> logits ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int, *, second_norm: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768) if second_norm else nn.Identity(),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(pool_to_two(F.relu(x))).flatten(1))
        return logits


class Network(NetworkBase):
    """Stem, cells of a genotype, and classifier.

    Args:
        channels: Width of the first cell's nodes (36 on CIFAR-10, 48 on ImageNet).
        cells: Number of cells (20 on CIFAR-10, 14 on ImageNet).
        drop_path: Probability of dropping the output of an operation for a sample, in training;
            identities are never dropped.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.
    """

    cell_class: ClassVar[type[nn.Module]] = Cell

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 36,
        cells: int = 20,
        classes: int = 10,
        auxiliary: bool = True,
        in_channels: int = 3,
        stem: str = "small",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, drop_path)
        self.stem = make_stem(stem, in_channels, channels)
        outputs = {cell: len(genotype.concat(cell)) for cell in genotype.cells}
        plans = plan_cells(channels, cells, self.stem, outputs)
        self.cells = nn.ModuleList(self.cell_class(plan, genotype) for plan in plans)
        self.auxiliary_at = 2 * cells // 3
        widths = [outputs[plan.group] * plan.channels for plan in plans]
        if auxiliary:
            self.auxiliary = AuxiliaryHead(
                widths[self.auxiliary_at], classes, second_norm=stem != "imagenet"
            )
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(
        self, images: Tensor, auxiliary: bool = False
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Return logits; with ``auxiliary``, also the auxiliary head's, or None."""
        first, output = self.stem(images.contiguous(memory_format=torch.channels_last))
        previous = F.relu(first)
        auxiliary_logits = None
        for index, cell in enumerate(self.cells):
            before_previous, previous = previous, F.relu(output)
            output = cell(before_previous, previous, self.drop_path)
            if auxiliary and self.auxiliary is not None and index == self.auxiliary_at:
                auxiliary_logits = self.auxiliary(output)
        logits = self.classifier(output.mean(dim=(2, 3)))
        return (logits, auxiliary_logits) if auxiliary else logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.cells)
