"""Parallel edges of a supernet cell that run together.

A bundle holds the edges that leave one state; the two inputs of a cell share a bundle. Edges that
leave one state share its ReLU, its pools with their batch norms, and its pixels in even rows and
columns. The candidates of the edges run as grouped convolutions, as many edges at once as the
device handles well. The mixing weight of a candidate is the scale of its last batch norm.
Candidates of another structure, which a plug-in may add, run one edge after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.dispatch import UNLIMITED, KernelPlan, plan_kernels
from darts.ops.grouped_conv import grouped_conv2d
from darts.ops.pointwise import separable_conv
from darts.spaces.cnn.node_sums import Branch, NodeSums, NormRequest, run_branches
from darts.spaces.cnn.operations import FactorizedReduce, Noise, Zero
from darts.spaces.cnn.stacking import stack
from darts.spaces.cnn.states import BundleInputs, Copies, Pool, State, run_pool
from darts.spaces.mixture import consecutive_runs
from darts.spaces.supernet import ParameterRows


class Separate(nn.ModuleList):
    """The copies of a candidate that run one after the other."""


def can_stack(operation: nn.Module) -> bool:
    """Return whether a bundle can run the copies of a candidate together."""
    if isinstance(operation, Zero | Noise | nn.Identity | FactorizedReduce):
        return True
    if type(operation) is not nn.Sequential:
        return False
    return re.fullmatch("PN|(RC+N)+", "".join(map(_letter, operation))) is not None


def _letter(module: nn.Module) -> str:
    """Return the kind of a module that bundles can run as a letter; "-" for all others."""
    if type(module) is nn.ReLU:
        return "R"
    if isinstance(module, nn.BatchNorm2d):
        return "-" if module.affine else "N"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return "P"
    if type(module) is nn.Conv2d and module.bias is None and module.padding_mode == "zeros":
        return "C"
    return "-"


class EdgeBundle(nn.Module):
    """The edges of a cell that leave the same states, ordered by state, then node.

    Attributes:
        nodes: The node that each edge enters, counted from 0; as many for each state.
        owners: For each stacked operation its name, its column and the edges that own its copies.
        process_group: Ranks that share a batch, see ``darts.ops.sync_batch_norm``, or None.
    """

    def __init__(
        self,
        nodes: Sequence[int],
        names: Sequence[Sequence[str]],
        edges: Sequence[Iterable[nn.Module]],
    ) -> None:
        super().__init__()
        self.nodes = list(nodes)
        # Edges with the same operation in the same column run it together.
        modules = [list(edge) for edge in edges]
        self.owners: list[tuple[str, int, list[int]]] = []
        stacks = []
        for column, column_names in enumerate(zip(*names, strict=True)):
            for name in dict.fromkeys(column_names):
                owners = [edge for edge, other in enumerate(column_names) if other == name]
                self.owners.append((name, column, owners))
                candidates = [modules[edge][column] for edge in owners]
                stacks.append(
                    stack(candidates) if can_stack(candidates[0]) else Separate(candidates)
                )
        self.operations = nn.ModuleList(stacks)
        self.process_group: dist.ProcessGroup | None = None

    def operation_rows(self) -> Iterator[tuple[str, list[ParameterRows]]]:
        """Yield the name and the parameter rows of each operation with weights, for each edge."""
        for (name, column, owners), operation in zip(self.owners, self.operations, strict=True):
            for copy, edge in enumerate(owners):
                if isinstance(operation, Separate):
                    rows = [ParameterRows(p, 0, len(p)) for p in operation[copy].parameters()]
                else:
                    bounds = ((p, len(p) // len(owners)) for p in operation.parameters())
                    rows = [ParameterRows(p, copy * n, (copy + 1) * n) for p, n in bounds]
                if rows:
                    yield f"{edge}.{column}.{name}", rows

    def forward(
        self,
        states: Sequence[State],
        weights: Tensor,
        sums: NodeSums,
        active: Sequence[Sequence[int]] | None = None,
        dropout: float = 0.0,
    ) -> None:
        """Add the outputs of all edges, times their mixing weights, to the sums of the nodes.

        ``active`` has the columns of the operations to run for each edge. In training, elements of
        identities are dropped with probability ``dropout``.
        """
        plan = plan_kernels(states[0].value)
        inputs = BundleInputs(states, self.nodes, weights)
        # Ranks exchange one message per norm, so they run all edges at once.
        synchronized = self.process_group is not None
        max_edges = UNLIMITED if synchronized else plan.edges_per_kernel(states[0].value)
        counters: list[Tensor] = []
        branches: list[Branch] = []
        for (name, column, owners), operation in zip(self.owners, self.operations, strict=True):
            if isinstance(operation, Zero):
                continue
            wanted = [c for c, e in enumerate(owners) if active is None or column in active[e]]
            drop = dropout if self.training and name == "skip_connect" else 0.0
            for run in consecutive_runs(wanted, max_edges):
                edges = [owners[copy] for copy in run]
                copies = Copies(
                    inputs, column, edges, first=run[0], total=len(owners), counters=counters
                )
                shared = self.training and not plan.batched and not synchronized
                if isinstance(operation, FactorizedReduce):
                    branches.append(_reduce(operation, copies))
                elif not isinstance(operation, nn.Sequential):
                    _add_unweighted(operation, copies, sums, drop, batched=plan.batched)
                elif not isinstance(operation[0], nn.ReLU) and shared:
                    _add_shared_pools(operation, copies, sums)
                elif not isinstance(operation[0], nn.ReLU):
                    branches.append(_pool(operation, copies))
                else:
                    branches.append(self._convolutions(operation, copies, plan))
                if not synchronized:
                    run_branches(branches, sums, None, training=self.training)
                    branches = []
        if branches:
            run_branches(branches, sums, self.process_group, training=self.training)
        if counters:
            torch._foreach_add_(counters, 1)

    def _convolutions(self, operation: nn.Sequential, copies: Copies, plan: KernelPlan) -> Branch:
        """Run an operation that repeats ReLU, convolutions and batch norm.

        It stops at each norm, so that ranks that share a batch normalize all operations together.
        """
        modules = list(operation)
        ends = [i for i, module in enumerate(modules) if isinstance(module, nn.BatchNorm2d)]
        x: Tensor | None = None
        begin = 0
        for end in ends:
            convolutions = [cast(nn.Conv2d, module) for module in modules[begin + 1 : end]]
            y = self._convolve(convolutions, x, copies, plan)
            norm = cast(nn.BatchNorm2d, modules[end])
            x = yield NormRequest(copies, y, norm, is_last=end == ends[-1])
            begin = end + 1

    def _convolve(
        self, convolutions: Sequence[nn.Conv2d], x: Tensor | None, copies: Copies, plan: KernelPlan
    ) -> Tensor:
        """Run the convolutions before a norm on ``x``; None for the rectified states."""
        if self.training and _is_separable(convolutions):
            x, stride, dilation = copies.separable_input(convolutions[0], x, fused=plan.fused)
            depthwise, pointwise = (copies.rows(module.weight) for module in convolutions)
            return separable_conv(x, depthwise, pointwise, stride, dilation, copies.count, plan)
        for convolution in convolutions:
            x = copies.convolve(convolution, x)
        return cast(Tensor, x)


def _pool(operation: nn.Sequential, copies: Copies) -> Branch:
    pool, norm = cast(Pool, operation[0]), cast(nn.BatchNorm2d, operation[1])
    yield NormRequest(copies, run_pool(pool, copies.read("value")), norm, is_last=True)


def _reduce(operation: FactorizedReduce, copies: Copies) -> Branch:
    """Run the skip connections of a reduction cell."""
    halves = []
    for pixels, half in (("even", operation.even), ("odd", operation.odd)):
        x, weight = copies.read_shared(pixels), copies.rows(half.weight)
        y = grouped_conv2d(x, weight, groups=x.shape[1] // weight.shape[1])
        halves.append(torch.unflatten(y, 1, (copies.count, -1)))
    y = torch.cat(halves, dim=2).flatten(1, 2)
    yield NormRequest(copies, y, operation.norm, is_last=True)


def _add_shared_pools(operation: nn.Sequential, copies: Copies, sums: NodeSums) -> None:
    """Add pooled states, each of which is normalized only once for all edges that leave it.

    This needs less memory than a norm of all edges, but more kernels.
    """
    pool, norm = cast(Pool, operation[0]), cast(nn.BatchNorm2d, operation[1])
    running = copies.running_stats(norm)
    outputs = []
    for index, state in enumerate(copies.states):
        output, mean, variance = state.pooled(pool, norm.eps)
        outputs.append(output)
        if running is not None:
            running.part(index, copies.count).update(mean, variance)
    sums.add_terms(copies, outputs)


def _add_unweighted(
    operation: nn.Module, copies: Copies, sums: NodeSums, drop: float, *, batched: bool
) -> None:
    """Add identities, noise, or copies of another structure, which run one after the other."""
    if isinstance(operation, Separate):
        modules = operation[copies.first : copies.first + copies.count]
        sums.add_terms(copies, [m(s.value) for m, s in zip(modules, copies.states, strict=True)])
    elif isinstance(operation, Noise):
        sums.add_terms(copies, [operation(state.value) for state in copies.states])
    elif batched:
        y = F.dropout(copies.read("value"), drop)
        scale = copies.channel_scale(y.shape[1] // copies.count)
        sums.add(copies, y * scale.view(1, -1, 1, 1))
    else:
        sums.add_terms(copies, [F.dropout(state.value, drop) for state in copies.states])


def _is_separable(convolutions: Sequence[nn.Conv2d]) -> bool:
    """Return whether these are a depthwise convolution with a square kernel and a pointwise one."""
    if len(convolutions) != 2:
        return False
    first, second = convolutions
    square = first.kernel_size[0] == first.kernel_size[1]
    return square and first.groups == first.in_channels and second.kernel_size == (1, 1)
