"""The parallel edges into one node, with what they have in common computed once.

All edges that leave one state share its ReLU, its pools and their batch norms, and its every second
pixel. The candidate operations of the edges run side by side as grouped convolutions, as many edges
at once as the device likes. The mixing weight of an operation is the scale of its last batch norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.kernels.choice import Choice, choose
from darts.kernels.mix import dense_gradient, sum_groups, weighted_sum
from darts.kernels.norm import Normalised, Running, normalise_shared
from darts.kernels.pixels import even_and_odd
from darts.kernels.stage import finish, per_channel, stage
from darts.spaces.cnn.operations import FactorizedReduce, Zero
from darts.spaces.cnn.stacked import stack


class State:
    """One state of a cell, ``(B, C, H, W)``, and what the operations on it share."""

    def __init__(self, value: Tensor) -> None:
        self.value = dense_gradient(value)
        self._views: dict[str, Tensor] = {}
        self._pooled: dict[tuple[type, int], Normalised] = {}

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

    def pooled(self, pool: Any, eps: float, group: Any) -> Normalised:
        """The state after pooling and batch norm by the statistics of the batch."""
        key = (type(pool), pool.stride)
        if key not in self._pooled:
            self._pooled[key] = normalise_shared(pool(self.value), eps, group)
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
        edges: for each edge its candidate operations; their weights are taken over.
    """

    def __init__(self, sources: Sequence[int], edges: Iterable[Iterable[nn.Module]]) -> None:
        super().__init__()
        self.sources = list(sources)
        self.operations = nn.ModuleList(stack(copies) for copies in zip(*edges, strict=True))
        self.compiled = False
        self.process_group: Any = None  # ranks that share a batch, see darts.kernels.sync

    def forward(self, states: Sequence[State], weights: Tensor) -> Tensor | None:
        """Weighted sum over edges and operations.

        Args:
            states: of the cell so far.
            weights: ``(edges, operations)``.

        Returns:
            ``(B, C, H', W')``, or None if no operation puts anything out.
        """
        choice = choose(states[0].value, compiled=self.compiled)
        chosen = [states[source] for source in self.sources]
        # Ranks exchange a message for each norm: the fewer, the better.
        together = self.process_group is not None
        size = len(chosen) if together else choice.edges_at_once(states[0].value)
        parts = [
            Part(chosen[first : first + size], first, len(chosen))
            for first in range(0, len(chosen), size)
        ]
        total: Tensor | None = None
        terms: list[Tensor] = []
        factors: list[Tensor] = []
        for operation, column in zip(self.operations, weights.unbind(1), strict=True):
            if isinstance(operation, Zero):
                continue
            if isinstance(operation, nn.Identity):
                terms += [state.value for state in chosen]
                factors += column.unbind()
            elif isinstance(operation, nn.Sequential) and not isinstance(operation[0], nn.ReLU):
                terms += self._pools(operation, chosen)
                factors += column.unbind()
            else:
                run = self._reduce if isinstance(operation, FactorizedReduce) else self._chain
                for part, scale in zip(parts, column.split(size), strict=True):
                    term = run(cast(Any, operation), part, scale, choice)
                    # Nothing keeps a term for its backward pass, so the sum may overwrite it.
                    total = term if total is None else total.add_(term)
        if terms:
            mixed = weighted_sum(terms, factors)
            total = mixed if total is None else total.add_(mixed)
        return total

    def _pools(self, operation: nn.Sequential, states: Sequence[State]) -> list[Tensor]:
        """Pooled and normalised states; each edge keeps running statistics of its own."""
        pool, norm = operation[0], cast(nn.BatchNorm2d, operation[1])
        outputs = []
        for index, state in enumerate(states):
            part = Part([state], index, len(states))
            if self.training:
                output, mean, variance = state.pooled(pool, norm.eps, self.process_group)
                part.running(norm).move(mean, variance)
                outputs.append(output)
            else:
                outputs.append(_by_running(pool(state.value), norm, part))
        return outputs

    def _chain(self, operation: nn.Sequential, part: Part, scale: Tensor, choice: Choice) -> Tensor:
        """ReLU, convolutions and batch norm, perhaps several times; the edges summed up."""
        modules = list(operation)
        ends = [i for i, module in enumerate(modules) if isinstance(module, nn.BatchNorm2d)]
        x: Tensor | None = None
        begin = 0
        for end in ends:
            convolutions = [cast(nn.Conv2d, module) for module in modules[begin + 1 : end]]
            norm = cast(nn.BatchNorm2d, modules[end])
            weight = scale if end == ends[-1] else None
            x = self._stage(convolutions, norm, x, part, weight, choice)
            begin = end + 1
        return cast(Tensor, x)

    def _stage(
        self,
        convolutions: Sequence[nn.Conv2d],
        norm: nn.BatchNorm2d,
        x: Tensor | None,
        part: Part,
        scale: Tensor | None,
        choice: Choice,
    ) -> Tensor:
        """Convolutions and their norm; then the weighted sum if ``scale`` is given, else ReLU.

        ``x`` is None for the first stage, which reads the states themselves.
        """
        if not self.training:
            for convolution in convolutions:
                x = _convolve(convolution, x, part)
            return _finish_by_running(cast(Tensor, x), norm, part, scale)
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
            )
        for convolution in convolutions:
            x = _convolve(convolution, x, part)
        return self._finish(cast(Tensor, x), norm, part, scale)

    def _reduce(
        self, operation: FactorizedReduce, part: Part, scale: Tensor, choice: Choice
    ) -> Tensor:
        """The skip connection of a reduction cell; the edges summed up."""
        halves = [
            F.conv2d(part.joined(pixels), part.of(half.weight), groups=part.count)
            for pixels, half in (("even", operation.even), ("odd", operation.odd))
        ]
        halves = [half.unflatten(1, (part.count, -1)) for half in halves]
        y = torch.cat(halves, dim=2).flatten(1, 2)
        if not self.training:
            return _finish_by_running(y, operation.norm, part, scale)
        return self._finish(y, operation.norm, part, scale)

    def _finish(self, y: Tensor, norm: nn.BatchNorm2d, part: Part, scale: Tensor | None) -> Tensor:
        last, running = scale is not None, part.running(norm)
        return finish(y, scale, part.count, norm.eps, last, running, self.process_group)


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


def _finish_by_running(y: Tensor, norm: nn.BatchNorm2d, part: Part, scale: Tensor | None) -> Tensor:
    """``finish`` by running statistics: the weighted sum if ``scale`` is given, else ReLU."""
    normalised = _by_running(y, norm, part, per_channel(scale, y))
    if scale is None:
        return F.relu_(normalised)
    return sum_groups(normalised, part.count)
