"""The supernet written out edge by edge and operation by operation: slow, and obviously right.

It is the definition of the space's continuous relaxation; anything faster is tested against it.

References:
    DARTS, arXiv:1806.09055, section 2.2, equation 2, and section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from darts.spaces.cnn.operations import make_operation
from darts.spaces.cnn.skeleton import (
    CELLS,
    CellPlan,
    check_positive,
    edges,
    make_preprocessing,
    make_stem,
    plan_cells,
)
from darts.spaces.genotype import PRIMITIVES


class MixedOperation(nn.Module):
    """All candidate operations of one edge and their weighted sum (equation 2).

    Shape: input ``(B, C, H, W)``, weights ``(operations,)``.
    """

    def __init__(self, channels: int, stride: int, operations: Sequence[str]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(
            make_operation(name, channels, stride, affine=False, normalise_pool=True)
            for name in operations
        )

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        terms = [
            weight * operation(x)
            for weight, operation in zip(weights.unbind(), self.operations, strict=True)
        ]
        return reduce(torch.add, terms)


class SupernetCell(nn.Module):
    """One cell whose every node sums the mixed operations of all states before it.

    Shape: two states ``(B, C, H, W)`` and weights ``(edges, operations)`` -> the nodes side by
    side, ``(B, nodes * channels, H', W')``, with ``H' = ceil(H/2)`` in a reduction cell.
    """

    def __init__(self, plan: CellPlan, nodes: int, operations: Sequence[str]) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = make_preprocessing(plan, affine=False)
        self.sources = edges(nodes)
        self.edges = nn.ModuleList(
            MixedOperation(
                plan.channels, 2 if plan.kind == "reduce" and source < 2 else 1, operations
            )
            for source, _ in self.sources
        )

    def forward(self, before_previous: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
        states = [self.preprocess0(before_previous), self.preprocess1(previous)]
        incoming: list[Tensor] = []
        for (source, node), mixed, row in zip(
            self.sources, self.edges, weights.unbind(), strict=True
        ):
            incoming.append(mixed(states[source], row))
            if source == node - 1:  # the node's last input: it is complete
                states.append(reduce(torch.add, incoming))
                incoming = []
        return torch.cat(states[2:], dim=1)


class EdgewiseSupernet(nn.Module):
    """The supernet of the DARTS paper.

    Weights stand in the order of the published description: stem, each cell's preprocessing and
    edges, classifier. All batch norms but the stem's are without affine parameters. The alphas
    are parameters, so they are in the state dict, but ``weight_parameters`` leaves them out.

    Args:
        channels: width of the first cell's nodes (16 in the paper's search).
        cells: number of cells (8 in the paper's search).
        classes: number of classes.
        in_channels: channels of the images.
        nodes: intermediate nodes a cell; 4 give 14 edges.
        operations: candidate operations of each edge.
        stem: "small" or "imagenet", see ``darts.spaces.cnn.skeleton``.

    Shape: images ``(B, in_channels, H, W)`` with sides of at least 8 pixels -> logits
    ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive, an unknown operation or an unknown stem.
    """

    make_cell: Callable[[CellPlan, int, Sequence[str]], nn.Module] = SupernetCell

    def __init__(
        self,
        *,
        channels: int = 16,
        cells: int = 8,
        classes: int = 10,
        in_channels: int = 3,
        nodes: int = 4,
        operations: Sequence[str] = PRIMITIVES,
        stem: str = "small",
    ) -> None:
        super().__init__()
        check_positive(
            channels=channels, cells=cells, classes=classes, in_channels=in_channels, nodes=nodes
        )
        self.operations = tuple(operations)
        self.nodes = nodes
        self.stem, width = make_stem(stem, in_channels, channels)
        plans = list(
            plan_cells(
                channels,
                cells,
                stem_width=width,
                stem_reduces=self.stem.reduces,
                outputs=dict.fromkeys(CELLS, nodes),
            )
        )
        self.kinds = [plan.kind for plan in plans]
        self.cells = nn.ModuleList(self.make_cell(plan, nodes, self.operations) for plan in plans)
        self.classifier = nn.Linear(nodes * plans[-1].channels, classes)
        shape = (len(edges(nodes)), len(self.operations))
        # Small random values, as published: they break ties without preferring anything.
        self.alphas = nn.ParameterDict(
            {kind: nn.Parameter(1e-3 * torch.randn(shape)) for kind in CELLS}
        )

    def weight_parameters(self) -> list[nn.Parameter]:
        """Every parameter but the alphas."""
        alphas = {id(alpha) for alpha in self.alphas.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in alphas]

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            images: ``(B, in_channels, H, W)``.
            weights: mixing weights by kind of cell, each ``(edges, operations)``; the softmax of
                the supernet's own alphas when not given.
        """
        if weights is None:
            weights = {kind: alpha.softmax(-1) for kind, alpha in self.alphas.items()}
        before_previous, previous = self.run_stem(images)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            output = self.run_cell(cell, before_previous, previous, weights[kind])
            before_previous, previous = previous, output
        return self.classifier(previous.mean(dim=(2, 3)))

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs of the first cell; a place for other ways of computing them."""
        first, second = self.stem(images)
        return first, second

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, weights: Tensor
    ) -> Tensor:
        """The output of one cell; a place for other ways of computing it."""
        output: Tensor = cell(before_previous, previous, weights)
        return output
