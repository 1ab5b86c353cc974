"""Unfinished sums of the nodes of a cell, to which the bundles of edges add their outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darts.ops.accumulator import SumAccumulator, add_normalized, can_add_normalized
from darts.ops.batch_norm import RunningStats, normalize
from darts.ops.sums import weighted_sum
from darts.spaces.cnn.edge_copies import Copies


class NodeSums:
    """The sums of the nodes of one cell; nodes are finished in their order.

    Feature maps of all edges of a bundle stay together: the sums of all unfinished nodes are the
    channels of one tensor, so that adding them takes one kernel.

    Args:
        nodes: Number of nodes.
    """

    def __init__(self, nodes: int) -> None:
        self._totals = [SumAccumulator() for _ in range(nodes)]
        self._terms: list[list[Tensor]] = [[] for _ in range(nodes)]
        self._factors: list[list[Tensor]] = [[] for _ in range(nodes)]
        self._finished = 0
        self._states = 1  # states that the edges of the current bundle leave
        # Outputs of all edges of the current bundle, (B, edges * C, H, W), summed over operations.
        self._bundle: Tensor | None = None
        # Sums of the unfinished nodes over the earlier bundles, (B, nodes * C, H, W).
        self._rest: Tensor | None = None

    def add(self, copies: Copies, y: Tensor) -> None:
        """Add outputs with their mixing weights, ``(B, copies * C, H, W)``.

        Do not use ``y`` afterwards: the sums may overwrite it.
        """
        if len(copies.nodes) == 1:
            self._totals[copies.nodes[0]].add(y)
        elif copies.is_whole_bundle:
            self._bundle = y if self._bundle is None else self._bundle.add_(y)
            self._states = len(copies.inputs.states)
        else:
            for node, output in zip(copies.nodes, y.chunk(copies.count, dim=1), strict=True):
                self._totals[node].add_view(output)

    def add_terms(self, copies: Copies, terms: Sequence[Tensor]) -> None:
        """Add an output ``(B, C, H, W)`` of each copy, times its mixing weight."""
        for node, term, factor in zip(copies.nodes, terms, copies.scale.unbind(), strict=True):
            self._terms[node].append(term)
            self._factors[node].append(factor)

    def add_normalized(
        self, copies: Copies, y: Tensor, eps: float, running: RunningStats | None
    ) -> None:
        """Normalize outputs ``(B, copies * C, H, W)``, and add them times their mixing weights."""
        if can_add_normalized(y):
            totals = [self._totals[node] for node in copies.nodes]
            add_normalized(totals, y, copies.scale, eps, running)
        else:
            scale = copies.channel_scale(y.shape[1] // copies.count)
            self.add(copies, normalize(y, scale, eps, running))

    def finish_node(self) -> Tensor | None:
        """Return the sum of the next node, ``(B, C, H, W)``; None if nothing was added to it."""
        node = self._finished
        self._finished += 1
        self._merge_bundle()
        total = self._totals[node]
        if self._terms[node]:
            total.add(weighted_sum(self._terms[node], self._factors[node]))
            self._terms[node], self._factors[node] = [], []
        own, batched = total.result(), self._next_of_rest(len(self._totals) - node)
        if own is None or batched is None:
            return batched if own is None else own
        return own.add_(batched)

    def _next_of_rest(self, unfinished: int) -> Tensor | None:
        """Split the sum of the next node from those of all unfinished nodes."""
        rest, self._rest = self._rest, None
        if rest is None or unfinished == 1:
            return rest
        width = rest.shape[1] // unfinished
        first, self._rest = torch.split(rest, [width, rest.shape[1] - width], dim=1)
        return first

    def _merge_bundle(self) -> None:
        """Add the outputs of the bundle's edges to the sums of the unfinished nodes."""
        if self._bundle is None:
            return
        # The edges are ordered by state, then node.
        for part in self._bundle.chunk(self._states, dim=1):
            self._rest = part if self._rest is None else self._rest + part
        self._bundle = None
