"""Fast supernet: the function of ``EdgewiseSupernet`` with less work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.sums import weighted_sum
from darts.spaces.cnn.edge_bundle import EdgeBundle, Separate
from darts.spaces.cnn.edgewise import SKIP, EdgewiseSupernet, MixedOperation, SupernetCell
from darts.spaces.cnn.node_sums import NodeSums
from darts.spaces.cnn.operations import remove_leading_relu, shuffle_channels
from darts.spaces.cnn.skeleton import CellPlan, count_nodes
from darts.spaces.cnn.stacking import bundles_of
from darts.spaces.cnn.states import State
from darts.spaces.mixture import CellMixture
from darts.spaces.supernet import ParameterRows


class BundledCell(nn.Module):
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
        self.partial, self.width = partial, edgewise.width
        pairs = edgewise.connections
        self.nodes = count_nodes(len(candidates))
        self.members = bundles_of(self.nodes)
        # Bundles of edges, not groups of alphas; the name is part of the state dict. Bundle 0 has
        # the edges that leave both inputs; bundle n, those that leave node n - 1.
        self.groups = nn.ModuleList(
            EdgeBundle(
                [pairs[edge][1] - 2 for edge in members],
                [candidates[edge] for edge in members],
                [cast(MixedOperation, edgewise.edges[edge]).operations for edge in members],
            )
            for members in self.members
        )
        self.stride = plan.node_stride

    def forward(
        self, before_previous: Tensor, previous: Tensor, mixture: CellMixture, dropout: float = 0.0
    ) -> Tensor:
        inputs = self.preprocess0(before_previous), self.preprocess1(previous)
        states = [State(x, self.width) for x in inputs]
        rows = mixture.weights.unbind()
        ordered = torch.stack([rows[edge] for members in self.members for edge in members])
        weights = torch.split(ordered, [len(members) for members in self.members])
        bypass: Sequence[Tensor | None] = [None] * self.nodes
        if mixture.bypass is not None:
            bypass = torch.split(mixture.bypass, [node + 2 for node in range(self.nodes)])
        sums = NodeSums(self.nodes)
        for node, members in enumerate(self.members):  # after bundle n, node n is complete
            bundle = cast(EdgeBundle, self.groups[node])
            active = mixture.active and [mixture.active[edge] for edge in members]
            bundle(states[-2:] if node == 0 else states[-1:], weights[node], sums, active, dropout)
            value = sums.finish_node()
            if value is None:  # no active operation has an output
                value = torch.zeros_like(states[0].value[:, :, :: self.stride, :: self.stride])
            if self.partial > 1:
                value = torch.cat([value, self._bypass(states, bypass[node])], dim=1)
            states.append(State(shuffle_channels(value, self.partial), self.width))
        return torch.cat(
            [node.rectified_whole() if self.rectifies else node.whole for node in states[2:]], dim=1
        )

    def _bypass(self, states: Sequence[State], weights: Tensor | None) -> Tensor:
        if weights is None:
            weights = torch.ones(len(states), device=states[0].whole.device)
        terms = [s.bypass(self.stride if i < 2 else 1) for i, s in enumerate(states)]
        return weighted_sum(terms, weights.unbind())


class Supernet(EdgewiseSupernet):
    """The supernet of the DARTS paper.

    It has the arguments, alphas, initial weights and, up to rounding, the results of
    ``EdgewiseSupernet``, from which it inherits its constructor and ``forward``.
    ``fuse_state_dict`` and ``unfuse_state_dict`` convert state dicts.
    """

    make_cell = BundledCell
    memory_format = torch.channels_last
    supports_recomputation = True

    def stacks(self) -> dict[str, int]:
        return {
            f"{path}.operations.{index}.": len(owners)
            for path, module in self.named_modules()
            if isinstance(module, EdgeBundle)
            for index, (_, _, owners) in enumerate(module.owners)
            if not isinstance(module.operations[index], Separate)
        }

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        return {
            f"{path}.{name}": rows
            for path, module in self.named_modules()
            if isinstance(module, EdgeBundle)
            for name, rows in module.operation_rows()
            if not name.endswith(SKIP)
        }

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.stem(images.contiguous(memory_format=torch.channels_last))
        rectified = F.relu(second)
        return rectified if first is second else F.relu(first), rectified

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, mixture: CellMixture
    ) -> Tensor:
        return self.run(cell, before_previous, previous, mixture, self.skip_dropout)
