"""The parallel edges into one node, with what they have in common computed once.

All edges that leave one state share its ReLU, its pools and their batch norms, and its every second
pixel. The candidate operations of the edges run side by side as grouped convolutions, as many edges
at once as the device likes. The mixing weight of an operation is the scale of its last batch norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.dispatch import Choice, choose
from darts.ops.mix import dense_gradient, sum_groups, weighted_sum
from darts.ops.norm import Normalized, Running, normalize, normalize_shared
from darts.ops.pixels import even_and_odd
from darts.ops.pool import average_pool
from darts.ops.stage import finish, per_channel, stage
from darts.ops.total import Total
from darts.spaces.cnn.operations import FactorizedReduce, Noise, Zero, beside
from darts.spaces.cnn.stacked import stack


class State:
    """One state of a cell, ``(B, C, H, W)``, and what the operations on it share.

    Args:
        whole: the state.
        width: how many of its channels go through operations; all when not given.

    Attributes:
        value: those channels.
    """

    def __init__(self, whole: Tensor, width: int | None = None) -> None:
        self.whole = dense_gradient(whole)
        self.width = whole.shape[1] if width is None else width
        self.value = self.whole
        if self.width < whole.shape[1]:
            first = self.whole[:, : self.width]
            self.value = dense_gradient(first.contiguous(memory_format=torch.channels_last))
        self._views: dict[str, Tensor] = {}
        self._beside: dict[int, Tensor] = {}
        self._pooled: dict[tuple[type, int], Normalized] = {}

    def beside(self, stride: int) -> Tensor:
        """The other channels, at the size of an operation's output."""
        if stride not in self._beside:
            rest = beside(self.whole, self.width, stride)
            self._beside[stride] = rest.contiguous(memory_format=torch.channels_last)
        return self._beside[stride]

    def rectified(self) -> Tensor:
        """All channels after ReLU."""
        return self.view("rectified") if self.width == self.whole.shape[1] else F.relu(self.whole)

    def view(self, name: str) -> Tensor:
        """What the convolutions read, each computed once.

        ``rectified``: after ReLU. ``even``: its pixels of even rows and columns,
        ``(B, C, ceil(H/2), ceil(W/2))``. ``odd``: its pixels of odd rows and columns, padded by
        zeros to the size of ``even``.
        """
        if name not in self._views:
            if name == "rectified":
                self._views[name] = F.relu(self.value)
            else:
                rectified = self.view("rectified")
                self._views["even"], self._views["odd"] = even_and_odd(rectified)
        return self._views[name]

    def pooled(self, pool: Any, eps: float, group: Any) -> Normalized:
        """The state after pooling and batch norm by the statistics of the batch."""
        key = (type(pool), pool.stride)
        if key not in self._pooled:
            self._pooled[key] = normalize_shared(run_pool(pool, self.value), eps, group)
        return self._pooled[key]


class Part:
    """Some of the edges of a group: which copies of a stacked module they own."""

    def __init__(self, states: Sequence[State], first: int, total: int) -> None:
        self.states = states
        self.first, self.count, self.total = first, len(states), total

    def of(self, stacked: Tensor | None) -> Tensor:
        """The part's share of a stacked module's tensor; a view."""
        assert stacked is not None
        each = stacked.shape[0] // self.total
        return stacked[self.first * each : (self.first + self.count) * each]

    def running(self, norm: nn.BatchNorm2d) -> Running:
        """The running statistics of the part's copies, which are going to see a batch."""
        if self.first == 0:
            cast(Tensor, norm.num_batches_tracked).add_(1)
        momentum = cast(float, norm.momentum)
        return Running(self.of(norm.running_mean), self.of(norm.running_var), momentum)

    def joined(self, name: str) -> Tensor:
        """A view of the states, side by side: ``(B, count * C, H, W)``."""
        tensors = [state.view(name) for state in self.states]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)


class Group(nn.Module):
    """The edges of one stride into one node.

    Args:
        sources: the states that the edges come from.
        names: for each edge the names of its candidate operations.
        edges: for each edge its candidate operations; their weights are taken over.
    """

    def __init__(
        self,
        sources: Sequence[int],
        names: Sequence[Sequence[str]],
        edges: Sequence[Iterable[nn.Module]],
    ) -> None:
        super().__init__()
        self.sources = list(sources)
        # Edges that have the same operation in the same column run it together.
        modules = [list(edge) for edge in edges]
        self.owners: list[tuple[str, int, list[int]]] = []  # name, column, edges
        stacks = []
        for column, alike in enumerate(zip(*names, strict=True)):
            for name in dict.fromkeys(alike):
                owners = [edge for edge, other in enumerate(alike) if other == name]
                self.owners.append((name, column, owners))
                stacks.append(stack([modules[edge][column] for edge in owners]))
        self.operations = nn.ModuleList(stacks)
        self.compiled = False
        self.process_group: Any = None  # ranks that share a batch, see darts.ops.sync

    def shares(self) -> Iterator[tuple[str, list[tuple[nn.Parameter, int, int]]]]:
        """Each edge's operations with weights: a name, and of each parameter the rows it owns."""
        for (name, column, owners), operation in zip(self.owners, self.operations, strict=True):
            for copy, edge in enumerate(owners):
                rows = [
                    (p, copy * len(p) // len(owners), (copy + 1) * len(p) // len(owners))
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
        """Weighted sum over edges and operations.

        Args:
            states: of the cell so far.
            weights: ``(edges, operations)``.
            active: for each edge the operations to run; all when not given.
            dropout: share of the outputs of skip connections that are dropped in training.

        Returns:
            ``(B, C, H', W')``, or None if no operation puts anything out.
        """
        choice = choose(states[0].value, compiled=self.compiled)
        chosen = [states[source] for source in self.sources]
        # Ranks exchange a message for each norm: the fewer, the better.
        together = self.process_group is not None
        size = len(chosen) if together else choice.edges_at_once(states[0].value)
        columns = weights.unbind(1)
        total = Total()
        terms: list[Tensor] = []
        factors: list[Tensor] = []
        for (name, column, owners), operation in zip(self.owners, self.operations, strict=True):
            if isinstance(operation, Zero):
                continue
            copies = [c for c, e in enumerate(owners) if active is None or column in active[e]]
            drop = dropout if self.training and name == "skip_connect" else 0.0
            for run in _runs(copies, size):
                edges = [owners[copy] for copy in run]
                part = Part([chosen[edge] for edge in edges], run[0], len(owners))
                scale = _at(columns[column], edges)
                if isinstance(operation, nn.Identity):
                    terms += [F.dropout(state.value, drop) for state in part.states]
                    factors += scale.unbind()
                    continue
                if isinstance(operation, Noise):
                    terms += [operation(state.value) for state in part.states]
                    factors += scale.unbind()
                    continue
                if isinstance(operation, nn.Sequential) and not isinstance(operation[0], nn.ReLU):
                    terms += self._pools(operation, part)
                    factors += scale.unbind()
                    continue
                if isinstance(operation, FactorizedReduce):
                    self._reduce(operation, part, scale, drop, total)
                else:
                    self._chain(cast(Any, operation), part, scale, choice, total)
        if terms:
            total.add(weighted_sum(terms, factors))
        return total.result()

    def _pools(self, operation: nn.Sequential, edges: Part) -> list[Tensor]:
        """Pooled and normalized states; each edge keeps running statistics of its own."""
        pool, norm = operation[0], cast(nn.BatchNorm2d, operation[1])
        outputs = []
        for index, state in enumerate(edges.states):
            part = Part([state], edges.first + index, edges.total)
            if self.training:
                output, mean, variance = state.pooled(pool, norm.eps, self.process_group)
                part.running(norm).move(mean, variance)
                outputs.append(output)
            else:
                outputs.append(_by_running(run_pool(pool, state.value), norm, part))
        return outputs

    def _chain(
        self, operation: nn.Sequential, part: Part, scale: Tensor, choice: Choice, total: Total
    ) -> None:
        """ReLU, convolutions and batch norm, perhaps several times; added for all edges."""
        modules = list(operation)
        ends = [i for i, module in enumerate(modules) if isinstance(module, nn.BatchNorm2d)]
        x: Tensor | None = None
        begin = 0
        for end in ends:
            convolutions = [cast(nn.Conv2d, module) for module in modules[begin + 1 : end]]
            norm = cast(nn.BatchNorm2d, modules[end])
            last = end == ends[-1]
            weight, into = (scale, total) if last else (None, None)
            x = self._stage(convolutions, norm, x, part, weight, into, choice)
            begin = end + 1

    def _stage(
        self,
        convolutions: Sequence[nn.Conv2d],
        norm: nn.BatchNorm2d,
        x: Tensor | None,
        part: Part,
        scale: Tensor | None,
        total: Total | None,
        choice: Choice,
    ) -> Tensor | None:
        """Convolutions and their norm; then ReLU, unless there is a total to add to, weighted.

        ``x`` is None for the first stage, which reads the states themselves.
        """
        if not self.training:
            for convolution in convolutions:
                x = _convolve(convolution, x, part)
            return _finish_by_running(cast(Tensor, x), norm, part, scale, total)
        if _separable(convolutions):
            depthwise, pointwise = convolutions
            x, stride, dilation = _input(depthwise, x, part)
            return stage(
                *(x, part.of(depthwise.weight), part.of(pointwise.weight), scale),
                stride=stride,
                dilation=dilation,
                groups=part.count,
                eps=norm.eps,
                last=scale is not None,
                running=part.running(norm),
                choice=choice,
                process_group=self.process_group,
                total=total,
            )
        for convolution in convolutions:
            x = _convolve(convolution, x, part)
        return self._finish(cast(Tensor, x), norm, part, scale, total)

    def _reduce(
        self,
        operation: FactorizedReduce,
        part: Part,
        scale: Tensor,
        dropout: float,
        total: Total,
    ) -> None:
        """The skip connection of a reduction cell; added for all edges."""
        halves = [
            F.conv2d(part.joined(pixels), part.of(half.weight), groups=part.count)
            for pixels, half in (("even", operation.even), ("odd", operation.odd))
        ]
        halves = [half.unflatten(1, (part.count, -1)) for half in halves]
        y = torch.cat(halves, dim=2).flatten(1, 2)
        if not self.training:
            _finish_by_running(y, operation.norm, part, scale, total)
        elif dropout:
            norm, running = operation.norm, part.running(operation.norm)
            weight = per_channel(scale, y)
            y = normalize(y, weight, norm.eps, running, self.process_group)
            total.add(sum_groups(F.dropout(y, dropout), part.count))
        else:
            self._finish(y, operation.norm, part, scale, total)

    def _finish(
        self,
        y: Tensor,
        norm: nn.BatchNorm2d,
        part: Part,
        scale: Tensor | None,
        total: Total | None,
    ) -> Tensor | None:
        last, running = scale is not None, part.running(norm)
        shape = (part.count, norm.eps, last, running, self.process_group)
        return finish(y, scale, *shape, total)


def run_pool(pool: nn.Module, x: Tensor) -> Tensor:
    """``pool(x)``."""
    if isinstance(pool, nn.AvgPool2d) and (pool.kernel_size, pool.stride) == (3, 1):
        return average_pool(x)
    return cast(Tensor, pool(x))


def _runs(copies: Sequence[int], size: int) -> Iterator[list[int]]:
    """Neighboring copies, at most so many at once."""
    run: list[int] = []
    for copy in copies:
        if run and (copy != run[-1] + 1 or len(run) == size):
            yield run
            run = []
        run.append(copy)
    if run:
        yield run


def _at(column: Tensor, edges: Sequence[int]) -> Tensor:
    """The weights of these edges."""
    if edges[-1] - edges[0] + 1 == len(edges):
        return column[edges[0] : edges[-1] + 1]
    return column[list(edges)]


def _separable(convolutions: Sequence[nn.Conv2d]) -> bool:
    """Whether these are a depthwise convolution and a pointwise one."""
    if len(convolutions) != 2:
        return False
    first, second = convolutions
    square = first.kernel_size[0] == first.kernel_size[1]
    return square and first.groups == first.in_channels and second.kernel_size == (1, 1)


def _input(module: nn.Conv2d, x: Tensor | None, part: Part) -> tuple[Tensor, int, int]:
    """What a convolution reads, its stride and its dilation; for None it reads the states."""
    stride, dilation = module.stride[0], module.dilation[0]
    if x is not None:
        return x, stride, dilation
    if stride == dilation == 2:  # reads every second pixel only
        return part.joined("even"), 1, 1
    return part.joined("rectified"), stride, dilation


def _convolve(module: nn.Conv2d, x: Tensor | None, part: Part) -> Tensor:
    """The part's copies of a stacked convolution."""
    weight, groups = part.of(module.weight), module.groups // part.total * part.count
    padding = cast(tuple[int, int], module.padding)
    if x is None:
        x = part.joined("rectified")
    return F.conv2d(x, weight, None, module.stride, padding, module.dilation, groups)


def _by_running(
    x: Tensor, norm: nn.BatchNorm2d, part: Part, factor: Tensor | None = None
) -> Tensor:
    """Batch norm by the running statistics of the part's copies."""
    mean, variance = part.of(norm.running_mean), part.of(norm.running_var)
    return F.batch_norm(x, mean, variance, factor, None, False, 0.0, norm.eps)


def _finish_by_running(
    y: Tensor, norm: nn.BatchNorm2d, part: Part, scale: Tensor | None, total: Total | None
) -> Tensor | None:
    """``finish`` by running statistics."""
    normalized = _by_running(y, norm, part, per_channel(scale, y))
    if total is None:
        return F.relu_(normalized)
    total.add(sum_groups(normalized, part.count))
    return None
