"""The discrete network that a genotype describes, for training from scratch.

References:
    DARTS, arXiv:1806.09055, section 3.2 and appendix A; drop path from Larsson et al.,
    "FractalNet", arXiv:1605.07648, as used per sample in NASNet, arXiv:1707.07012.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.group import State
from darts.spaces.cnn.operations import make_operation
from darts.spaces.cnn.rectified import leave_relu_out
from darts.spaces.cnn.skeleton import (
    CellPlan,
    check_positive,
    make_preprocessing,
    make_stem,
    plan_cells,
)
from darts.spaces.genotype import Genotype


def drop_path(x: Tensor, probability: float, rows: tuple[int, int] | None = None) -> Tensor:
    """Zero whole samples with the given probability and scale the others to keep the mean.

    Args:
        x: ``(B, C, H, W)``.
        probability: of zero, in [0, 1).
        rows: the place of the first of these samples in a larger batch, and the size of that
            batch. The draws are made for all of it, as by a process that holds all of it.

    Shape: ``(B, C, H, W)`` -> the same.
    """
    keep = 1.0 - probability
    first, count = rows or (0, x.shape[0])
    mask = torch.empty(count, 1, 1, 1, device=x.device, dtype=x.dtype).bernoulli_(keep)
    return x * (mask[first : first + x.shape[0]] / keep)


class Cell(nn.Module):
    """One discrete cell: two operations a node, their sum the node's state.

    What operations of one state have in common, its ReLU and its pools, is computed once.

    Shape: two states behind their ReLU, ``(B, C, H, W)`` -> ``(B, len(concat) * channels, H', W')``
    without one.
    """

    def __init__(self, plan: CellPlan, genotype: Genotype) -> None:
        super().__init__()
        self.kind = plan.kind
        self.preprocess0, self.preprocess1 = make_preprocessing(plan, affine=True)
        chosen = genotype.normal if plan.kind == "normal" else genotype.reduce
        self.concat = genotype.normal_concat if plan.kind == "normal" else genotype.reduce_concat
        self.sources = [source for _, source in chosen]
        self.operations = nn.ModuleList(
            make_operation(name, plan.channels, 2 if plan.kind == "reduce" and source < 2 else 1)
            for name, source in chosen
        )
        for preprocess in (self.preprocess0, self.preprocess1):
            leave_relu_out(preprocess)
        self.rectified = [leave_relu_out(operation) for operation in self.operations]

    def forward(
        self,
        before_previous: Tensor,
        previous: Tensor,
        probability: float,
        rows: tuple[int, int] | None = None,
    ) -> Tensor:
        states = [State(self.preprocess0(before_previous)), State(self.preprocess1(previous))]
        pooled: dict[tuple[int, type], Tensor] = {}
        terms: list[Tensor] = []
        for source, rectified, operation in zip(
            self.sources, self.rectified, self.operations, strict=True
        ):
            state = states[source]
            if isinstance(operation, (nn.MaxPool2d, nn.AvgPool2d)):
                key = (source, type(operation))
                if key not in pooled:
                    pooled[key] = operation(state.value)
                x = pooled[key]
            else:
                x = operation(state.view("rectified") if rectified else state.value)
            # An identity is never dropped: it is what keeps the path open.
            if probability > 0 and self.training and not isinstance(operation, nn.Identity):
                x = drop_path(x, probability, rows)
            terms.append(x)
            if len(terms) == 2:
                states.append(State(terms[0] + terms[1]))
                terms = []
        return torch.cat([states[node].value for node in self.concat], dim=1)


def pool_to_two(x: Tensor) -> Tensor:
    """Average into 2x2 overlapping windows, from any size.

    A side of n pixels is read by two windows of ceil(3n/5) pixels, one from each end. That is the
    published pooling of 5 pixels at stride 3 on 8x8 states (CIFAR-10) and at stride 2 on 7x7
    states (ImageNet).

    Shape: ``(B, C, H, W) -> (B, C, 2, 2)``.
    """
    height, width = x.shape[-2:]
    window = (-(-3 * height // 5), -(-3 * width // 5))
    # A window as large as its side leaves nothing to move by, and both means are one.
    stride = (height - window[0] or 1, width - window[1] or 1)
    return F.avg_pool2d(x, window, stride).expand(-1, -1, 2, 2)


class AuxiliaryHead(nn.Module):
    """A second classifier at two thirds of the depth, used in training only.

    Shape: ``(B, C, H, W)`` of any size -> logits ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(pool_to_two(F.relu(x))).flatten(1))


class Network(nn.Module):
    """The network that stacks a genotype's cells.

    Args:
        genotype: the two cells.
        channels: width of the first cell's nodes (36 on CIFAR-10, 48 on ImageNet).
        cells: number of cells (20 on CIFAR-10, 14 on ImageNet).
        classes: number of classes.
        auxiliary: whether to build the auxiliary head.
        in_channels: channels of the images.
        stem: "small" or "imagenet".
        drop_path: probability with which the output of an operation that is not an identity is
            dropped for a sample, in training; the attribute may be changed from epoch to epoch.

    Attributes:
        rows: what ``drop_path`` needs to know when images are a part of a larger batch, or None.

    Shape: images ``(B, in_channels, H, W)`` with sides of at least 8 pixels -> logits
    ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive, a probability outside [0, 1) or an unknown
            stem.
    """

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
        super().__init__()
        check_positive(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path must be at least 0 and below 1, got {drop_path!r}")
        self.genotype = genotype
        self.drop_path = drop_path
        self.rows: tuple[int, int] | None = None
        self.stem, width = make_stem(stem, in_channels, channels)
        outputs = {"normal": len(genotype.normal_concat), "reduce": len(genotype.reduce_concat)}
        plans = list(
            plan_cells(
                channels,
                cells,
                stem_width=width,
                stem_reduces=self.stem.reduces,
                outputs=outputs,
            )
        )
        self.cells = nn.ModuleList(Cell(plan, genotype) for plan in plans)
        self.auxiliary_at = 2 * cells // 3
        widths = [outputs[plan.kind] * plan.channels for plan in plans]
        self.auxiliary = AuxiliaryHead(widths[self.auxiliary_at], classes) if auxiliary else None
        self.classifier = nn.Linear(widths[-1], classes)

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[True]) -> tuple[Tensor, Tensor | None]: ...

    def forward(
        self, images: Tensor, auxiliary: bool = False
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Logits of a batch.

        Args:
            images: ``(B, in_channels, H, W)``.
            auxiliary: return the auxiliary head's logits too, ``(logits, auxiliary logits)``;
                the second is None when the network has no such head.
        """
        first, output = self.stem(images.contiguous(memory_format=torch.channels_last))
        previous = F.relu(first)
        auxiliary_logits = None
        for index, cell in enumerate(self.cells):
            before_previous, previous = previous, F.relu(output)
            output = cell(before_previous, previous, self.drop_path, self.rows)
            if auxiliary and self.auxiliary is not None and index == self.auxiliary_at:
                auxiliary_logits = self.auxiliary(output)
        logits = self.classifier(output.mean(dim=(2, 3)))
        return (logits, auxiliary_logits) if auxiliary else logits

    def carriers(self, cell: str, edge: int) -> list[tuple[nn.Module, str]]:
        """Modules and attributes that hold the operation of a genotype's edge, a pair a cell."""
        return [(own.operations, str(edge)) for own in self.cells if own.kind == cell]  # type: ignore[misc]
