"""Parallel edges of a supernet cell that run together.

All edges that leave one state share its ReLU, its pools with their batch norms, and its pixels in
even rows and columns. The candidates of the edges run as grouped convolutions, as many edges at
once as the device handles well. The mixing weight of a candidate is the scale of its last batch
norm. Candidates of another structure, which a plug-in may add, run one edge after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.accumulator import SumAccumulator
from darts.ops.batch_norm import RunningStats
from darts.ops.dispatch import KernelPlan, plan_kernels
from darts.ops.pointwise import PointwiseConv2d
from darts.ops.separable import normalize_and_reduce, repeat_per_channel, separable_conv
from darts.ops.sums import sum_groups, weighted_sum
from darts.spaces.cnn.operations import DepthwiseConv2d, FactorizedReduce, Noise, Zero
from darts.spaces.cnn.stacking import stack
from darts.spaces.cnn.state import Pool, State, run_pool
from darts.spaces.supernet import ParameterRows


class Copies:
    """Some consecutive copies of a stacked operation, see ``darts.spaces.cnn.stacking``.

    Args:
        states: The state that each copy reads.
        first: Index of the first copy.
        total: Number of copies in the stacked operation.
    """

    def __init__(self, states: Sequence[State], first: int, total: int) -> None:
        self.states = states
        self.first, self.count, self.total = first, len(states), total

    def rows(self, stacked: Tensor | None) -> Tensor:
        """Return the rows of a stacked tensor that belong to these copies; a view."""
        assert stacked is not None
        per_copy = stacked.shape[0] // self.total
        return stacked[self.first * per_copy : (self.first + self.count) * per_copy]

    def running_stats(self, norm: nn.BatchNorm2d) -> RunningStats:
        """Return the running statistics of these copies.

        If the first copy is among them, count the batch in ``norm``.
        """
        if self.first == 0:
            cast(Tensor, norm.num_batches_tracked).add_(1)
        momentum = cast(float, norm.momentum)
        return RunningStats(self.rows(norm.running_mean), self.rows(norm.running_var), momentum)

    def inputs(self, name: str) -> Tensor:
        """Return ``State.conv_input`` of all states, concatenated: ``(B, count * C, H, W)``."""
        tensors = [state.conv_input(name) for state in self.states]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)

    def convolve(self, module: nn.Conv2d, x: Tensor | None) -> Tensor:
        """Run these copies of a stacked convolution on ``x``; None for the rectified states."""
        weight, groups = self.rows(module.weight), module.groups // self.total * self.count
        padding = cast(tuple[int, int], module.padding)
        if x is None:
            x = self.inputs("rectified")
        return F.conv2d(x, weight, None, module.stride, padding, module.dilation, groups)

    def separable_input(self, module: nn.Conv2d, x: Tensor | None) -> tuple[Tensor, int, int]:
        """Return the input, stride and dilation of a depthwise convolution.

        The input is ``x``, or the rectified states if ``x`` is None.
        """
        stride, dilation = module.stride[0], module.dilation[0]
        if x is not None:
            return x, stride, dilation
        if stride == dilation == 2:  # reads only the pixels in even rows and columns
            return self.inputs("even"), 1, 1
        return self.inputs("rectified"), stride, dilation

    def normalize_by_running_stats(
        self, x: Tensor, norm: nn.BatchNorm2d, factor: Tensor | None = None
    ) -> Tensor:
        """Apply batch norm with the running statistics of these copies.

        Args:
            x: ``(B, count * C, H, W)``.
            norm: The stacked batch norm.
            factor: ``(count * C,)``, by which to multiply the result; None for 1.
        """
        mean, variance = self.rows(norm.running_mean), self.rows(norm.running_var)
        return F.batch_norm(x, mean, variance, factor, None, False, 0.0, norm.eps)


class Separate(nn.ModuleList):
    """The copies of a candidate that run one after the other."""


def can_stack(operation: nn.Module) -> bool:
    """Return whether a bundle can run the copies of a candidate together.

    These are the candidates without weights of this project, ``FactorizedReduce``, a pooling with
    its norm, and sequences that repeat ReLU, convolutions and batch norm.
    """
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
    is_known = type(module) in (nn.Conv2d, DepthwiseConv2d, PointwiseConv2d)
    if is_known and module.bias is None and getattr(module, "padding_mode", "zeros") == "zeros":
        return "C"
    return "-"


class EdgeBundle(nn.Module):
    """The edges of a cell that enter one node with one stride.

    Args:
        sources: The state that each edge leaves.
        names: Names of the candidates of each edge.
        edges: Candidates of each edge; the bundle takes over their weights.

    Attributes:
        owners: For each stacked operation its name, its column and the edges that own its copies.
        compiled: Whether to use ``torch.compile``.
        process_group: Ranks that share a batch, see ``darts.ops.sync_batch_norm``, or None.
    """

    def __init__(
        self,
        sources: Sequence[int],
        names: Sequence[Sequence[str]],
        edges: Sequence[Iterable[nn.Module]],
    ) -> None:
        super().__init__()
        self.sources = list(sources)
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
        self.compiled = False
        self.process_group: dist.ProcessGroup | None = None

    def operation_rows(self) -> Iterator[tuple[str, list[ParameterRows]]]:
        """Yield the name and the parameter rows of each operation with weights, for each edge.

        The name is ``{edge}.{column}.{operation}``, where ``edge`` counts the edges of the bundle.
        """
        for (name, column, owners), operation in zip(self.owners, self.operations, strict=True):
            for copy, edge in enumerate(owners):
                if isinstance(operation, Separate):
                    own = [ParameterRows(p, 0, len(p)) for p in operation[copy].parameters()]
                    if own:
                        yield f"{edge}.{column}.{name}", own
                    continue
                rows = [
                    ParameterRows(
                        p, copy * len(p) // len(owners), (copy + 1) * len(p) // len(owners)
                    )
                    for p in operation.parameters()
                ]
                if rows:
                    yield f"{edge}.{column}.{name}", rows

    def forward(
        self,
        states: Sequence[State],
        weights: Tensor,
        active: Sequence[Sequence[int]] | None = None,
        dropout: float = 0.0,
    ) -> Tensor | None:
        """Compute the weighted sum over edges and operations.

        Args:
            states: States of the cell computed so far.
            weights: ``(edges, operations)``.
            active: Columns of the operations to run for each edge; all by default.
            dropout: Probability of dropping an output element of an identity in training.

        Returns:
            ``(B, C, H', W')``, or None if no operation has an output.
        """
        plan = plan_kernels(states[0].value, compiled=self.compiled)
        inputs = [states[source] for source in self.sources]
        # Ranks exchange one message per norm, so they run all edges at once.
        synchronized = self.process_group is not None
        max_edges = len(inputs) if synchronized else plan.edges_per_kernel(states[0].value)
        columns = weights.unbind(1)
        total = SumAccumulator()
        terms: list[Tensor] = []
        factors: list[Tensor] = []
        for (name, column, owners), operation in zip(self.owners, self.operations, strict=True):
            if isinstance(operation, Zero):
                continue
            wanted = [c for c, e in enumerate(owners) if active is None or column in active[e]]
            drop = dropout if self.training and name == "skip_connect" else 0.0
            for run in _consecutive_runs(wanted, max_edges):
                edges = [owners[copy] for copy in run]
                copies = Copies([inputs[edge] for edge in edges], run[0], len(owners))
                scale = _select(columns[column], edges)
                unweighted = self._unweighted(operation, copies, drop)
                if unweighted is not None:
                    terms += unweighted
                    factors += scale.unbind()
                elif isinstance(operation, FactorizedReduce):
                    self._reduce(operation, copies, scale, total)
                else:
                    self._convolutions(cast(nn.Sequential, operation), copies, scale, plan, total)
        if terms:
            total.add(weighted_sum(terms, factors))
        return total.result()

    def _unweighted(self, operation: nn.Module, copies: Copies, drop: float) -> list[Tensor] | None:
        """Return the outputs of the copies of an operation before the mixing weights.

        Only for operations without convolutions, or of another structure; None for the others.
        """
        if isinstance(operation, Separate):
            modules = operation[copies.first : copies.first + copies.count]
            return [module(s.value) for module, s in zip(modules, copies.states, strict=True)]
        if isinstance(operation, nn.Identity):
            return [F.dropout(state.value, drop) for state in copies.states]
        if isinstance(operation, Noise):
            return [operation(state.value) for state in copies.states]
        if isinstance(operation, nn.Sequential) and not isinstance(operation[0], nn.ReLU):
            return self._pools(operation, copies)
        return None

    def _pools(self, operation: nn.Sequential, copies: Copies) -> list[Tensor]:
        """Return pooled and normalized states; each edge has its own running statistics."""
        pool, norm = cast(Pool, operation[0]), cast(nn.BatchNorm2d, operation[1])
        outputs = []
        for index, state in enumerate(copies.states):
            copy = Copies([state], copies.first + index, copies.total)
            if self.training:
                output, mean, variance = state.pooled(pool, norm.eps, self.process_group)
                copy.running_stats(norm).update(mean, variance)
                outputs.append(output)
            else:
                pooled = run_pool(pool, state.value)
                outputs.append(copy.normalize_by_running_stats(pooled, norm))
        return outputs

    def _convolutions(
        self,
        operation: nn.Sequential,
        copies: Copies,
        scale: Tensor,
        plan: KernelPlan,
        total: SumAccumulator,
    ) -> None:
        """Add to ``total`` an operation that repeats ReLU, convolutions and batch norm."""
        modules = list(operation)
        ends = [i for i, module in enumerate(modules) if isinstance(module, nn.BatchNorm2d)]
        x: Tensor | None = None
        begin = 0
        for end in ends:
            convolutions = [cast(nn.Conv2d, module) for module in modules[begin + 1 : end]]
            norm = cast(nn.BatchNorm2d, modules[end])
            last = end == ends[-1]
            weight, into = (scale, total) if last else (None, None)
            x = self._conv_norm(convolutions, norm, x, copies, weight, into, plan)
            begin = end + 1

    def _conv_norm(
        self,
        convolutions: Sequence[nn.Conv2d],
        norm: nn.BatchNorm2d,
        x: Tensor | None,
        copies: Copies,
        scale: Tensor | None,
        total: SumAccumulator | None,
        plan: KernelPlan,
    ) -> Tensor | None:
        """Run convolutions and their norm, then finish as ``_finish`` does.

        ``x`` is None for the first convolutions of an operation, which read the states.
        """
        if self.training and _is_separable(convolutions):
            depthwise, pointwise = convolutions
            x, stride, dilation = copies.separable_input(depthwise, x)
            return separable_conv(
                x,
                copies.rows(depthwise.weight),
                copies.rows(pointwise.weight),
                scale,
                stride=stride,
                dilation=dilation,
                groups=copies.count,
                eps=norm.eps,
                ends_operation=scale is not None,
                running=copies.running_stats(norm),
                plan=plan,
                process_group=self.process_group,
                accumulator=total,
            )
        for convolution in convolutions:
            x = copies.convolve(convolution, x)
        return self._finish(cast(Tensor, x), norm, copies, scale, total)

    def _reduce(
        self, operation: FactorizedReduce, copies: Copies, scale: Tensor, total: SumAccumulator
    ) -> None:
        """Add the skip connections of a reduction cell to the total."""
        halves = [
            F.conv2d(copies.inputs(pixels), copies.rows(half.weight), groups=copies.count)
            for pixels, half in (("even", operation.even), ("odd", operation.odd))
        ]
        halves = [torch.unflatten(half, 1, (copies.count, -1)) for half in halves]
        y = torch.cat(halves, dim=2).flatten(1, 2)
        self._finish(y, operation.norm, copies, scale, total)

    def _finish(
        self,
        y: Tensor,
        norm: nn.BatchNorm2d,
        copies: Copies,
        scale: Tensor | None,
        total: SumAccumulator | None,
    ) -> Tensor | None:
        """Normalize, then add the result to ``total``; without it, return the result after ReLU."""
        if self.training:
            return normalize_and_reduce(
                y,
                scale,
                copies.count,
                norm.eps,
                scale is not None,
                copies.running_stats(norm),
                self.process_group,
                total,
            )
        normalized = copies.normalize_by_running_stats(y, norm, repeat_per_channel(scale, y))
        if total is None:
            return F.relu_(normalized)
        total.add(sum_groups(normalized, copies.count))
        return None


def _is_separable(convolutions: Sequence[nn.Conv2d]) -> bool:
    """Return whether these are a depthwise convolution with a square kernel and a pointwise one."""
    if len(convolutions) != 2:
        return False
    first, second = convolutions
    square = first.kernel_size[0] == first.kernel_size[1]
    return square and first.groups == first.in_channels and second.kernel_size == (1, 1)


def _consecutive_runs(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """Split sorted indices into runs of consecutive ones, each of at most ``size``."""
    run: list[int] = []
    for index in indices:
        if run and (index != run[-1] + 1 or len(run) == size):
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _select(column: Tensor, indices: Sequence[int]) -> Tensor:
    """Return the elements at sorted indices; a view if these are consecutive."""
    if indices[-1] - indices[0] + 1 == len(indices):
        return column[indices[0] : indices[-1] + 1]
    return column[list(indices)]
