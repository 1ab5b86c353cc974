"""Fast supernet: the function of ``EdgewiseSupernet`` with less work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.bundled_nodes import BundledNodes, BundledSupernet
from darts.spaces.cnn.edgewise import EdgewiseSupernet, MixedOperation, SupernetCell
from darts.spaces.cnn.operations import remove_leading_relu
from darts.spaces.cnn.skeleton import CellPlan, count_nodes
from darts.spaces.cnn.stacking import bundles_of
from darts.spaces.mixture import CellMixture


class BundledCell(BundledNodes):
    """One cell, see ``SupernetCell``; the edges that leave a state run in a bundle.

    The next two cells and the convolutions between the nodes all read a node after ReLU. The cell
    computes this ReLU once per node: cells read and return rectified states.

    Attributes:
        rectifies: Whether the output is rectified; False in the last cell, whose output the
            classifier reads.
    """

    def __init__(
        self, plan: CellPlan, candidates: Sequence[Sequence[str]], partial: int = 1
    ) -> None:
        super().__init__()
        # Draws the same initial weights as the edge-wise cell.
        edgewise = SupernetCell(plan, candidates, partial)
        self.preprocess0, self.preprocess1 = edgewise.preprocess0, edgewise.preprocess1
        for preprocess in (self.preprocess0, self.preprocess1):
            remove_leading_relu(preprocess)
        self.rectifies = not plan.is_last
        self.set_edges(
            edgewise.connections,
            bundles_of(count_nodes(len(candidates))),
            candidates,
            [cast(MixedOperation, edge).operations for edge in edgewise.edges],
            partial=partial,
            width=edgewise.width,
            stride=plan.node_stride,
        )

    def forward(
        self, before_previous: Tensor, previous: Tensor, mixture: CellMixture, dropout: float = 0.0
    ) -> Tensor:
        inputs = self.preprocess0(before_previous), self.preprocess1(previous)
        nodes = self.run_nodes(inputs, mixture, dropout)
        return torch.cat([n.rectified_whole() if self.rectifies else n.whole for n in nodes], dim=1)


class Supernet(BundledSupernet, EdgewiseSupernet):
    """The supernet of the DARTS paper.

    It has the arguments, alphas, initial weights and, up to rounding, the results of
    ``EdgewiseSupernet``, from which it inherits its constructor and ``forward``.
    ``fuse_state_dict`` and ``unfuse_state_dict`` convert state dicts.
    """

    make_cell = BundledCell
    memory_format = torch.channels_last

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.stem(images.contiguous(memory_format=torch.channels_last))
        rectified = F.relu(second)
        return rectified if first is second else F.relu(first), rectified

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, mixture: CellMixture
    ) -> Tensor:
        return self.run(cell, before_previous, previous, mixture, self.skip_dropout)
