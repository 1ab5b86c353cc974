"""Sums of the nodes of a cell, and the branches of operations whose outputs are added to them.

A branch is a generator that computes up to its next norm, requests the norm, and continues with the
normalized and rectified result. In one process the branches run one after the other. If ranks share
a batch, they run together: the ranks exchange one message for the norms of all branches that have
the same number of norms before them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeAlias

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.accumulator import SumAccumulator, add_normalized, can_add_normalized
from darts.ops.batch_norm import NormInput, RunningStats, normalize, normalize_together
from darts.ops.sums import weighted_sum
from darts.spaces.cnn.states import Copies


class NodeSums:
    """The sums of the nodes of one cell; nodes are finished in their order.

    Feature maps of all edges of a bundle stay together: the sums of all unfinished nodes are the
    channels of one tensor, so that adding them takes one kernel.
    """

    def __init__(self, nodes: int) -> None:
        self._totals = [SumAccumulator() for _ in range(nodes)]
        # Outputs and their mixing weights.
        self._terms: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(nodes)]
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
            self._terms[node].append((term, factor))

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
        if self._bundle is not None:
            # The edges are ordered by state, then node.
            for part in self._bundle.chunk(self._states, dim=1):
                self._rest = part if self._rest is None else self._rest + part
            self._bundle = None
        batched, unfinished = self._rest, len(self._totals) - node
        if batched is not None and unfinished > 1:
            width = batched.shape[1] // unfinished
            batched, self._rest = torch.split(batched, [width, batched.shape[1] - width], dim=1)
        total = self._totals[node]
        if self._terms[node]:
            total.add(weighted_sum(*zip(*self._terms[node], strict=True)))
            self._terms[node] = []
        own = total.result()
        if own is None or batched is None:
            return batched if own is None else own
        return own.add_(batched)


class NormRequest(NamedTuple):
    """A batch norm that a branch needs, for ``y``, ``(B, edges * C, H, W)``.

    If it ``is_last``, the result, times the mixing weights, is added to the nodes; otherwise the
    branch continues with it after ReLU.
    """

    copies: Copies
    y: Tensor
    norm: nn.BatchNorm2d
    is_last: bool

    @property
    def scale(self) -> Tensor | None:
        """The mixing weight of each channel, or None before the end of the branch."""
        channels = self.y.shape[1] // self.copies.count
        return self.copies.channel_scale(channels) if self.is_last else None


Branch: TypeAlias = Generator[NormRequest, Tensor, None]


def run_branches(
    branches: Sequence[Branch], sums: NodeSums, group: dist.ProcessGroup | None, *, training: bool
) -> None:
    """Run branches to their ends and add the results to the sums of the nodes."""
    if group is not None and training:
        _run_together(branches, sums, group)
        return
    for branch in branches:
        request = next(branch)
        while not request.is_last:
            request = branch.send(F.relu_(_normalize(request, training)))
        copies, y, norm, _ = request
        if training:
            sums.add_normalized(copies, y, norm.eps, copies.running_stats(norm))
        else:
            sums.add(copies, _normalize(request, training))


def _normalize(request: NormRequest, training: bool) -> Tensor:
    copies, y, norm, _ = request
    if training:
        return normalize(y, request.scale, norm.eps, copies.running_stats(norm))
    mean, variance = copies.rows(norm.running_mean), copies.rows(norm.running_var)
    return F.batch_norm(y, mean, variance, request.scale, None, False, 0.0, norm.eps)


def _run_together(branches: Sequence[Branch], sums: NodeSums, group: dist.ProcessGroup) -> None:
    """Run branches norm by norm, with one message between the ranks for each."""
    waiting = [(branch, next(branch)) for branch in branches]
    while waiting:
        inputs = [
            NormInput(r.y, r.scale, r.norm.eps, r.copies.running_stats(r.norm)) for _, r in waiting
        ]
        outputs = normalize_together(inputs, group)
        continued = []
        for (branch, request), output in zip(waiting, outputs, strict=True):
            if request.is_last:
                sums.add(request.copies, output)
            else:
                continued.append((branch, branch.send(F.relu(output))))
        waiting = continued
