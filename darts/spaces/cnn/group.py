"""The parallel edges into one node, with what they have in common computed once.

All edges that leave one state share its ReLU, its pools and their batch norms, and its every second
pixel. The candidate operations of the edges run side by side as grouped convolutions, as many edges
at once as the device likes. The mixing weight of an operation is the scale of its last batch norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.kernels.choice import Choice, choose
from darts.kernels.composed import composed_conv2d
from darts.kernels.depthwise import depthwise_conv2d
from darts.kernels.mix import dense_gradient, weighted_sum
from darts.kernels.norm import Normalised, normalise, update
from darts.kernels.pointwise import pointwise_norm
from darts.spaces.cnn.operations import FactorizedReduce, Zero
from darts.spaces.cnn.stacked import stack


class State:
    """One state of a cell, ``(B, C, H, W)``, and what the operations on it share."""

    def __init__(self, value: Tensor) -> None:
        self.value = dense_gradient(value)
        self._pooled: dict[tuple[type, int], Normalised] = {}

    @cached_property
    def rectified(self) -> Tensor:
        """After ReLU."""
        return F.relu(self.value)

    @cached_property
    def even(self) -> Tensor:
        """Pixels of even rows and columns after ReLU, ``(B, C, ceil(H/2), ceil(W/2))``."""
        return self.rectified[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)

    @cached_property
    def odd(self) -> Tensor:
        """Pixels of odd rows and columns after ReLU, padded by zeros to the size of ``even``."""
        height, width = self.value.shape[-2:]
        pixels = F.pad(self.rectified[:, :, 1::2, 1::2], (0, width % 2, 0, height % 2))
        return pixels.contiguous(memory_format=torch.channels_last)

    def pooled(self, pool: Any, eps: float, group: Any) -> Normalised:
        """The state after pooling and batch norm by the statistics of the batch."""
        key = (type(pool), pool.stride)
        if key not in self._pooled:
            self._pooled[key] = normalise(pool(self.value), None, eps, group)
        return self._pooled[key]


class Part:
    """Some of the edges of a group: which copies of a stacked module they own."""

    def __init__(self, states: Sequence[State], first: int, total: int) -> None:
        self.states = states
        self.first, self.count, self.total = first, len(states), total

    def channels(self, stacked: int) -> slice:
        """Where the part's copies lie in a dimension of the stacked module."""
        each = stacked // self.total
        return slice(self.first * each, (self.first + self.count) * each)

    def joined(self, name: str) -> Tensor:
        """An attribute of the states side by side, ``(B, count * C, H, W)``."""
        tensors = [getattr(state, name) for state in self.states]
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
        self.process_group: Any = None  # ranks that share a batch, see darts.kernels.sync

    def forward(self, states: Sequence[State], weights: Tensor) -> Tensor | None:
        """Weighted sum over edges and operations.

        Args:
            states: of the cell so far.
            weights: ``(edges, operations)``.

        Returns:
            ``(B, C, H', W')``, or None if no operation puts anything out.
        """
        choice = choose(states[0].value)
        if self.process_group is not None:  # statistics of all ranks are gathered unfolded
            choice = Choice(choice.edges_at_once, 0, 0, choice.composed)
        chosen = [states[source] for source in self.sources]
        size = choice.edges_at_once
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
                normalised = state.pooled(pool, norm.eps, self.process_group)
                self._update(norm, part, normalised)
                outputs.append(normalised.output)
            else:
                outputs.append(_by_running(pool(state.value), norm, part, None))
        return outputs

    def _chain(self, operation: nn.Sequential, part: Part, scale: Tensor, choice: Choice) -> Tensor:
        """ReLU, convolutions and batch norm, perhaps several times; the edges summed up."""
        modules = list(operation)
        ends = [i for i, module in enumerate(modules) if isinstance(module, nn.BatchNorm2d)]
        x: Tensor | None = None
        begin = 0
        for end in ends:
            *leading, last = (cast(nn.Conv2d, module) for module in modules[begin + 1 : end])
            final = end == ends[-1]
            x = self._stage(
                leading, last, cast(nn.BatchNorm2d, modules[end]), x, part, scale, final, choice
            )
            begin = end + 1
        return cast(Tensor, x)

    def _stage(
        self,
        leading: Sequence[nn.Conv2d],
        last: nn.Conv2d,
        norm: nn.BatchNorm2d,
        x: Tensor | None,
        part: Part,
        scale: Tensor,
        final: bool,
        choice: Choice,
    ) -> Tensor:
        """Convolutions and their norm, then ReLU, or weighting and sum at the end.

        ``x`` is None for the first stage, which reads the states themselves.
        """
        weight = last.weight[part.channels(last.weight.shape[0])]
        width = weight.shape[0] // part.count
        pointwise = last.kernel_size == (1, 1)
        if choice.composed and pointwise and len(leading) == 1:
            x = _convolve(leading[0], x, part, composed_with=weight)
        else:
            for convolution in leading:
                x = _convolve(convolution, x, part)
            limit = choice.folded_last if final else choice.folded_hidden
            if pointwise and self.training and width <= limit:
                folded = pointwise_norm(
                    cast(Tensor, x),
                    weight,
                    scale if final else None,
                    groups=part.count,
                    eps=norm.eps,
                    rectify=not final,
                    summed=final,
                )
                self._update(norm, part, folded)
                return folded.output
            x = _convolve(last, x, part)
        y = self._norm(x, norm, part, scale if final else None)
        if not final:
            return F.relu_(y)
        return y if part.count == 1 else y.unflatten(1, (part.count, -1)).sum(1)

    def _reduce(
        self, operation: FactorizedReduce, part: Part, scale: Tensor, choice: Choice
    ) -> Tensor:
        """The skip connection of a reduction cell; the edges summed up."""
        halves = [
            F.conv2d(
                part.joined(pixels),
                convolution.weight[part.channels(convolution.weight.shape[0])],
                groups=part.count,
            ).unflatten(1, (part.count, -1))
            for pixels, convolution in (("even", operation.even), ("odd", operation.odd))
        ]
        y = self._norm(torch.cat(halves, dim=2).flatten(1, 2), operation.norm, part, scale)
        return y if part.count == 1 else y.unflatten(1, (part.count, -1)).sum(1)

    def _norm(self, x: Tensor, norm: nn.BatchNorm2d, part: Part, scale: Tensor | None) -> Tensor:
        """Batch norm of the part's copies, times the mixing weight of each edge if given."""
        factor = None
        if scale is not None:
            factor = scale[:, None].expand(-1, x.shape[1] // part.count).reshape(-1)
        if not self.training:
            return _by_running(x, norm, part, factor)
        normalised = normalise(x, factor, norm.eps, self.process_group)
        self._update(norm, part, normalised)
        return normalised.output

    def _update(self, norm: nn.BatchNorm2d, part: Part, statistics: Normalised) -> None:
        where = part.channels(norm.num_features)
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        update(mean[where], variance[where], cast(float, norm.momentum), statistics)
        if part.first == 0:
            cast(Tensor, norm.num_batches_tracked).add_(1)


def _convolve(
    module: nn.Conv2d, x: Tensor | None, part: Part, composed_with: Tensor | None = None
) -> Tensor:
    """The part's copies of a stacked convolution; ``x`` is None where the states are its input."""
    weight = module.weight[part.channels(module.weight.shape[0])]
    groups = module.groups // part.total * part.count
    stride, dilation = module.stride[0], module.dilation[0]
    depthwise = weight.shape[1] == 1 and groups == weight.shape[0] and weight.shape[-1] > 1
    if x is None:
        # A dilation of 2 at stride 2 reads every second pixel only.
        subsample = stride == dilation == 2
        x = part.joined("even" if subsample else "rectified")
        stride, dilation = (1, 1) if subsample else (stride, dilation)
    if composed_with is not None:
        return composed_conv2d(
            *(x, weight, composed_with), stride=stride, dilation=dilation, groups=part.count
        )
    if depthwise and module.kernel_size[0] == module.kernel_size[1]:
        return depthwise_conv2d(x, weight, stride, dilation)
    padding = cast(tuple[int, int], module.padding)
    return F.conv2d(x, weight, None, module.stride, padding, module.dilation, groups)


def _by_running(x: Tensor, norm: nn.BatchNorm2d, part: Part, factor: Tensor | None) -> Tensor:
    """Batch norm by the running statistics of the part's copies."""
    where = part.channels(norm.num_features)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    return F.batch_norm(x, mean[where], variance[where], factor, None, False, 0.0, norm.eps)
