"""The nodes of a supernet cell whose edges run in bundles, and supernets of such cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from darts.ops.sums import weighted_sum
from darts.spaces.cnn.edge_bundle import EdgeBundle, Separate
from darts.spaces.cnn.node_sums import NodeSums
from darts.spaces.cnn.operations import shuffle_channels
from darts.spaces.cnn.states import State
from darts.spaces.mixture import CellMixture
from darts.spaces.supernet import ParameterRows, SupernetBase


class BundledNodes(nn.Module):
    """Nodes, each of which is the sum of the mixed edges from all earlier states."""

    def set_edges(
        self,
        pairs: Sequence[tuple[int, int]],
        members: Sequence[Sequence[int]],
        names: Sequence[Sequence[str]],
        edges: Sequence[Iterable[nn.Module]],
        *,
        partial: int,
        width: int,
        stride: int = 1,
    ) -> None:
        """Set the edges and their candidates.

        Args:
            pairs: ``(source, target)`` of each edge, ordered by target, then source.
            members: Indices of the edges of each bundle. Bundle 0 has the edges that leave the
                inputs; bundle n, those that leave node n - 1. After bundle n, node n is complete.
            names: Names of the candidates of each edge.
            edges: The candidates of each edge.
            partial: One of so many groups of channels passes through operations.
            width: Number of channels of this group.
            stride: Stride of the edges that leave the inputs.
        """
        self.members, self.partial, self.width, self.stride = members, partial, width, stride
        self.inputs = pairs[0][1]
        # Bundles of edges, not groups of alphas; the name is part of the state dict.
        self.groups = nn.ModuleList(
            EdgeBundle(
                [pairs[edge][1] - self.inputs for edge in own],
                [names[edge] for edge in own],
                [edges[edge] for edge in own],
            )
            for own in members
        )

    def run_nodes(
        self, inputs: Sequence[Tensor], mixture: CellMixture, dropout: float
    ) -> list[State]:
        """Return the nodes; in training, elements of identities are dropped."""
        states = [State(x, self.width) for x in inputs]
        rows = mixture.weights.unbind()
        ordered = torch.stack([rows[edge] for own in self.members for edge in own])
        weights = torch.split(ordered, [len(own) for own in self.members])
        bypass: Sequence[Tensor | None] = [None] * len(self.members)
        if mixture.bypass is not None:
            sizes = [node + self.inputs for node in range(len(self.members))]
            bypass = torch.split(mixture.bypass, sizes)
        sums = NodeSums(len(self.members))
        for node, own in enumerate(self.members):
            bundle = cast(EdgeBundle, self.groups[node])
            active = mixture.active and [mixture.active[edge] for edge in own]
            bundle(states if node == 0 else states[-1:], weights[node], sums, active, dropout)
            value = sums.finish_node()
            if value is None:  # no active operation has an output
                value = torch.zeros_like(states[0].value[:, :, :: self.stride, :: self.stride])
            if self.partial > 1:
                value = torch.cat([value, self._bypass(states, bypass[node])], dim=1)
            states.append(State(shuffle_channels(value, self.partial), self.width))
        return states[self.inputs :]

    def _bypass(self, states: Sequence[State], weights: Tensor | None) -> Tensor:
        if weights is None:
            weights = torch.ones(len(states), device=states[0].whole.device)
        terms = [s.bypass(self.stride if i < self.inputs else 1) for i, s in enumerate(states)]
        return weighted_sum(terms, weights.unbind())


class BundledSupernet(SupernetBase):
    """Base class of supernets with bundles of edges."""

    supports_recomputation = True

    def stacks(self) -> dict[str, int]:
        return {
            f"{path}.operations.{index}.": len(owners)
            for path, bundle in self._bundles()
            for index, (_, _, owners) in enumerate(bundle.owners)
            if not isinstance(bundle.operations[index], Separate)
        }

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        return {
            f"{path}.{name}": rows
            for path, bundle in self._bundles()
            for name, rows in bundle.operation_rows()
            if not name.endswith("skip_connect")
        }

    def _bundles(self) -> Iterator[tuple[str, EdgeBundle]]:
        for path, module in self.named_modules():
            if isinstance(module, EdgeBundle):
                yield path, module
