"""The supernet written out edge by edge and operation by operation: slow, and obviously right.

It is the definition of the space's continuous relaxation; anything faster is tested against it.

References:
    DARTS, arXiv:1806.09055, section 2.2, equation 2, and section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.operations import Zero, beside, make_operation, shuffled
from darts.spaces.cnn.skeleton import (
    CELLS,
    CellPlan,
    check_positive,
    count_nodes,
    edges,
    make_preprocessing,
    make_stem,
    plan_cells,
)
from darts.spaces.genotype import PRIMITIVES
from darts.spaces.mixture import CellMixture, as_mixture
from darts.spaces.supernet import SupernetBase

SKIP = "skip_connect"
Operations: TypeAlias = Sequence[str] | Mapping[str, Sequence[Sequence[str]]]


class MixedOperation(nn.Module):
    """All candidate operations of one edge and their weighted sum (equation 2).

    Shape: input ``(B, C, H, W)``, weights ``(operations,)``.
    """

    def __init__(self, channels: int, stride: int, operations: Sequence[str]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(
            make_operation(name, channels, stride, affine=False, normalize_pool=True)
            for name in operations
        )
        self.stride = stride

    def forward(
        self,
        x: Tensor,
        weights: Tensor,
        active: Sequence[int] | None = None,
        dropout: Mapping[int, float] | None = None,
    ) -> Tensor:
        """Weighted sum.

        Args:
            x: ``(B, C, H, W)``.
            weights: ``(operations,)``.
            active: the operations to run; all when not given.
            dropout: by operation, the share of its outputs that are dropped in training.
        """
        columns = range(len(self.operations)) if active is None else active
        terms = []
        for column, weight in enumerate(weights.unbind()):
            if column in columns:
                y = self.operations[column](x)
                if dropout and column in dropout:
                    y = F.dropout(y, dropout[column], self.training)
                terms.append(weight * y)
        return reduce(torch.add, terms) if terms else Zero(self.stride)(x)


class SupernetCell(nn.Module):
    """One cell whose every node sums the mixed operations of all states before it.

    With partial channels the operations see the first ``1 / partial`` of a state's channels, the
    others go past them (through a 2x2 max pooling where the operations halve the image), and the
    channels of a node are shuffled, so that the next operations see others (PC-DARTS,
    arXiv:1907.05737, section 3.2, and figure 1).

    Args:
        plan: place in the stack.
        candidates: operations of each edge.
        partial: 1 for all channels.

    Shape: two states ``(B, C, H, W)`` and weights ``(edges, operations)`` -> the nodes side by
    side, ``(B, nodes * channels, H', W')``, with ``H' = ceil(H/2)`` in a reduction cell.

    Raises:
        ValueError: when the cell's channels cannot be divided by ``partial``.
    """

    def __init__(
        self, plan: CellPlan, candidates: Sequence[Sequence[str]], partial: int = 1
    ) -> None:
        super().__init__()
        if plan.channels % partial:
            raise ValueError(f"partial={partial} does not divide the {plan.channels} channels")
        self.preprocess0, self.preprocess1 = make_preprocessing(plan, affine=False)
        self.sources = edges(count_nodes(len(candidates)))
        self.partial, self.width = partial, plan.channels // partial
        self.skips = [[c for c, name in enumerate(row) if name == SKIP] for row in candidates]
        self.edges = nn.ModuleList(
            MixedOperation(self.width, 2 if plan.kind == "reduce" and source < 2 else 1, names)
            for (source, _), names in zip(self.sources, candidates, strict=True)
        )

    def forward(
        self, before_previous: Tensor, previous: Tensor, mixture: CellMixture, dropout: float = 0.0
    ) -> Tensor:
        states = [self.preprocess0(before_previous), self.preprocess1(previous)]
        incoming: list[Tensor] = []
        for edge, (source, node) in enumerate(self.sources):
            mixed = cast(MixedOperation, self.edges[edge])
            x = states[source][:, : self.width]
            active = None if mixture.active is None else mixture.active[edge]
            drop = dict.fromkeys(self.skips[edge], dropout) if dropout else None
            y = mixed(x, mixture.weights[edge], active, drop)
            if self.partial > 1:
                past = beside(states[source], self.width, mixed.stride)
                factor = 1.0 if mixture.bypass is None else mixture.bypass[edge]
                y = torch.cat([y, factor * past], dim=1)
            incoming.append(y)
            if source == node - 1:  # the node's last input: it is complete
                states.append(shuffled(reduce(torch.add, incoming), self.partial))
                incoming = []
        return torch.cat(states[2:], dim=1)


class EdgewiseSupernet(SupernetBase):
    """The supernet of the DARTS paper, and what later papers have added to it.

    Weights stand in the order of the published description: stem, each cell's preprocessing and
    edges, classifier. All batch norms but the stem's are without affine parameters. The alphas
    are parameters, so they are in the state dict, but ``weight_parameters`` leaves them out.

    Args:
        channels: width of the first cell's nodes (16 in the paper's search).
        cells: number of cells (8 in the paper's search).
        classes: number of classes.
        in_channels: channels of the images.
        nodes: intermediate nodes a cell; 4 give 14 edges.
        operations: candidate operations of each edge; or by kind of cell, for every edge its own,
            as many on each.
        partial: one in so many channels goes through the operations, see ``SupernetCell``.
        auxiliary_skip: give each edge one more skip connection, beside the candidates, whose
            weight is the last column of a mixture (DARTS-, arXiv:2009.01027, section 3.2).
        stem: "small" or "imagenet", see ``darts.spaces.cnn.skeleton``.

    Shape: images ``(B, in_channels, H, W)`` with sides of at least 8 pixels -> logits
    ``(B, classes)``.

    Attributes:
        alphas: by kind of cell ``(edges, operations)``.
        candidates: by kind of cell and edge, the names of the alphas' columns.
        edges: by kind of cell, each edge's source and target.
        counts: by kind of cell, how many there are.
        skip_dropout: share of a skip connection's outputs that are dropped in training (P-DARTS,
            arXiv:1904.12760, section 3.3).

    Raises:
        ValueError: for a size that is not positive, a width that ``partial`` does not divide, an
            unknown operation or an unknown stem.
    """

    space = "cnn"
    make_cell: Callable[..., nn.Module] = SupernetCell

    def __init__(
        self,
        *,
        channels: int = 16,
        cells: int = 8,
        classes: int = 10,
        in_channels: int = 3,
        nodes: int = 4,
        operations: Operations = PRIMITIVES,
        partial: int = 1,
        auxiliary_skip: bool = False,
        stem: str = "small",
    ) -> None:
        super().__init__()
        check_positive(
            channels=channels,
            cells=cells,
            classes=classes,
            in_channels=in_channels,
            nodes=nodes,
            partial=partial,
        )
        self.candidates = candidates_of(operations, nodes)
        self.edges = dict.fromkeys(CELLS, tuple(edges(nodes)))
        self.auxiliary_skip = auxiliary_skip
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
        self.counts = {kind: self.kinds.count(kind) for kind in CELLS}
        extra = (SKIP,) if auxiliary_skip else ()
        self.cells = nn.ModuleList(
            self.make_cell(plan, [(*row, *extra) for row in self.candidates[plan.kind]], partial)
            for plan in plans
        )
        self.classifier = nn.Linear(nodes * plans[-1].channels, classes)
        # Of mixing weights.
        self.shapes = {
            kind: (len(rows), len(rows[0]) + auxiliary_skip)
            for kind, rows in self.candidates.items()
        }
        # Small random values, as published: they break ties without preferring anything.
        self.alphas = nn.ParameterDict(
            {
                kind: nn.Parameter(1e-3 * torch.randn(len(rows), len(rows[0])))
                for kind, rows in self.candidates.items()
            }
        )

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            images: ``(B, in_channels, H, W)``.
            weights: mixing weights by kind of cell, each ``(edges, operations)``, or a ``Mixture``;
                the softmax of the supernet's own alphas, and nothing for the auxiliary skip
                connections, when not given.
        """
        mixture = as_mixture(self._own_weights() if weights is None else weights)
        mixture.check(self.shapes)
        before_previous, previous = self.run_stem(images)
        seen = dict.fromkeys(CELLS, 0)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            share = mixture.of_cell(kind, seen[kind])
            seen[kind] += 1
            output = self.run_cell(cell, before_previous, previous, share)
            before_previous, previous = previous, output
        return self.classifier(previous.mean(dim=(2, 3)))

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs of the first cell; a place for other ways of computing them."""
        first, second = self.stem(images)
        return first, second

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, mixture: CellMixture
    ) -> Tensor:
        """The output of one cell; a place for other ways of computing it."""
        output: Tensor = cell(before_previous, previous, mixture, self.skip_dropout)
        return output

    def _own_weights(self) -> dict[str, Tensor]:
        weights = {kind: self.alphas[kind].softmax(-1) for kind in CELLS}
        if not self.auxiliary_skip:
            return weights
        return {kind: F.pad(weight, (0, 1)) for kind, weight in weights.items()}


def candidates_of(operations: Operations, nodes: int) -> dict[str, tuple[tuple[str, ...], ...]]:
    """By kind of cell, the operations of each edge.

    Raises:
        ValueError: when the edges given do not have equally many operations, or are not those of a
            cell.
    """
    count = len(edges(nodes))
    if not isinstance(operations, Mapping):
        return dict.fromkeys(CELLS, (tuple(operations),) * count)
    rows = {kind: tuple(map(tuple, operations[kind])) for kind in CELLS}
    for kind, names in rows.items():
        if len(names) != count or len({len(row) for row in names}) != 1:
            raise ValueError(
                f"operations of the {kind} cell must be {count} lists of equal length, one an edge"
            )
    return rows
