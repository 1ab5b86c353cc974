"""Reference supernet that runs each operation of each edge separately.

It defines the continuous relaxation of the space; the fast supernet is tested against it.

References:
    DARTS, arXiv:1806.09055, section 2.2, equation 2, and section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.candidates import Operations, candidates_of
from darts.spaces.cnn.operations import Zero, bypass_channels, make_operation, shuffle_channels
from darts.spaces.cnn.skeleton import (
    CellPlan,
    count_nodes,
    make_preprocessing,
    make_stem,
    plan_cells,
)
from darts.spaces.genotype import CELLS, PRIMITIVES, all_edges
from darts.spaces.mixture import CellMixture
from darts.spaces.rank_dropout import drop_path
from darts.spaces.supernet import SupernetBase

SKIP = "skip_connect"


class MixedOperation(nn.Module):
    """All candidates of one edge and their weighted sum (equation 2)."""

    def __init__(self, channels: int, stride: int, operations: Sequence[str]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(
            make_operation(name, channels, stride, affine=False, normalize_pool=True)
            for name in operations
        )
        self.stride = stride

    def forward(
        self, x: Tensor, weights: Tensor, active: Sequence[int] | None = None, dropout: float = 0.0
    ) -> Tensor:
        """Return the weighted sum of the operations in the active columns, by default of all.

        In training, elements of identities are dropped with probability ``dropout``.
        """
        scalars, terms = weights.unbind(), []
        for column in range(len(scalars)) if active is None else active:
            operation = self.operations[column]
            y = operation(x)
            if dropout and isinstance(operation, nn.Identity):
                y = F.dropout(y, dropout, self.training)
            terms.append(scalars[column] * y)
        total: Tensor = reduce(torch.add, terms) if terms else Zero(self.stride)(x)
        return total


class SupernetCell(nn.Module):
    """One cell in which each node is the sum of the mixed operations of all earlier states.

    With partial channels (PC-DARTS, arXiv:1907.05737, section 3.2 and figure 1), the first
    ``1 / partial`` of a state's channels pass through the operations. The other channels bypass
    them, through a 2x2 max pooling where the operations halve the image. The channels of a node are
    shuffled, so the next operations read other channels.

    Shape: the outputs of the two cells before (of the previous one, ``(B, plan.previous, H, W)``)
    and mixing weights ``(edges, operations)`` -> the concatenated nodes,
    ``(B, nodes * plan.channels, H', W')``, with ``H' = ceil(H/2)`` in a reduction cell.
    """

    def __init__(
        self, plan: CellPlan, candidates: Sequence[Sequence[str]], partial: int = 1
    ) -> None:
        super().__init__()
        if plan.channels % partial:
            raise ValueError(f"partial={partial} does not divide the {plan.channels} channels")
        self.preprocess0 = make_preprocessing(plan, 0, affine=False)
        self.preprocess1 = make_preprocessing(plan, 1, affine=False)
        self.connections = all_edges(count_nodes(len(candidates)))
        self.partial, self.width = partial, plan.channels // partial
        self.edges = nn.ModuleList(
            MixedOperation(self.width, plan.stride(source), names)
            for (source, _), names in zip(self.connections, candidates, strict=True)
        )

    def forward(
        self,
        before_previous: Tensor,
        previous: Tensor,
        mixture: CellMixture,
        dropout: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> Tensor:
        states = [self.preprocess0(before_previous), self.preprocess1(previous)]
        incoming: list[Tensor] = []
        for edge, (source, node) in enumerate(self.connections):
            mixed = cast(MixedOperation, self.edges[edge])
            x = states[source][:, : self.width]
            active = None if mixture.active is None else mixture.active[edge]
            y = mixed(x, mixture.weights[edge], active, dropout)
            y = drop_path(self, y, drop_path_rate)
            if self.partial > 1:
                bypassing = bypass_channels(states[source], self.width, mixed.stride)
                factor = 1.0 if mixture.bypass is None else mixture.bypass[edge]
                y = torch.cat([y, factor * bypassing], dim=1)
            incoming.append(y)
            if source == node - 1:  # the last edge into the node
                states.append(shuffle_channels(reduce(torch.add, incoming), self.partial))
                incoming = []
        return torch.cat(states[2:], dim=1)


class EdgewiseSupernet(SupernetBase):
    """The supernet of the DARTS paper, with extensions of later papers.

    The weights have the published order: stem, preprocessing and edges of each cell, classifier.
    Only the batch norms of the stem have affine parameters.

    Args:
        channels: Width of the first cell's nodes (16 in the paper's search).
        cells: Number of cells (8 in the paper's search).
        nodes: Intermediate nodes per cell; 4 nodes have 14 edges.
        operations: Candidates of every edge; or by group, the candidates of each edge, the same
            number for all edges.
        auxiliary_skip: Whether each edge has a skip connection in addition to its candidates
            (DARTS-, arXiv:2009.01027, section 3.2); its weight is the last column of a mixture.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.

    References:
        ``skip_dropout``: P-DARTS, arXiv:1904.12760, section 3.3; identities only. ``drop_path``:
        Zela et al., arXiv:1909.09656; SNAS, arXiv:1812.09926.
    """

    make_cell: Callable[..., nn.Module] = SupernetCell
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format

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
        self.candidates = candidates_of(operations, nodes)
        self.edges = dict.fromkeys(CELLS, tuple(all_edges(nodes)))
        self.stem = make_stem(stem, in_channels, channels, in_supernet=True)
        plans = plan_cells(channels, cells, self.stem, dict.fromkeys(CELLS, nodes))
        self.cell_groups = [plan.group for plan in plans]
        self.counts = {group: self.cell_groups.count(group) for group in CELLS}
        extra = (SKIP,) if auxiliary_skip else ()
        self.cells = nn.ModuleList(
            self.make_cell(plan, [(*row, *extra) for row in self.candidates[plan.group]], partial)
            for plan in plans
        )
        self.classifier = nn.Linear(nodes * plans[-1].channels, classes)
        self.shapes = {
            group: (len(rows), len(rows[0]) + auxiliary_skip)
            for group, rows in self.candidates.items()
        }
        self.alphas = self.make_alphas()
        # Convolutions are a third slower if weights and images differ in their memory format.
        self.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor, mixture: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return logits; for the mixing weights, see ``SupernetBase.make_mixture``."""
        mixture = self.make_mixture(mixture)
        before_previous, previous = self.run_stem(images)
        indices = dict.fromkeys(CELLS, 0)
        for group, cell in zip(self.cell_groups, self.cells, strict=True):
            cell_mixture = mixture.of_cell(group, indices[group])
            indices[group] += 1
            output = self.run_cell(cell, before_previous, previous, cell_mixture)
            before_previous, previous = previous, output
        logits: Tensor = self.classifier(previous.mean(dim=(2, 3)))
        return logits

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two inputs of the first cell; subclasses may override it."""
        first, second = self.stem(images)
        return first, second

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, mixture: CellMixture
    ) -> Tensor:
        """Return the output of one cell; subclasses may override it."""
        output: Tensor = cell(before_previous, previous, mixture, self.skip_dropout, self.drop_path)
        return output
