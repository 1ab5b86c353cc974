"""What the operations of a cell read: states, mixing weights and rows of stacked weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import Normalized, RunningStats, normalize_shared
from darts.ops.grouped_conv import avg_pool3x3
from darts.ops.pixels import repeat_groups, repeat_per_channel, split_even_odd
from darts.ops.sums import dense_gradient
from darts.spaces.cnn.operations import bypass_channels
from darts.spaces.rank_dropout import drop_path

Pool: TypeAlias = nn.MaxPool2d | nn.AvgPool2d


class State:
    """One state of a cell, ``(B, C, H, W)``; derived tensors are computed once.

    Attributes:
        value: The first ``width`` channels, which pass through operations; all by default.
    """

    def __init__(self, whole: Tensor, width: int | None = None) -> None:
        self.whole = dense_gradient(whole)
        self.width = whole.shape[1] if width is None else width
        self.value = self.whole
        if self.width < whole.shape[1]:
            first = self.whole[:, : self.width]
            self.value = dense_gradient(first.contiguous(memory_format=torch.channels_last))
        self._inputs = {"value": self.value}
        self._bypass: dict[int, Tensor] = {}
        self._pooled: dict[str, Normalized] = {}

    def bypass(self, stride: int) -> Tensor:
        """Return the channels that bypass the operations, at the size of an operation's output."""
        if stride not in self._bypass:
            others = bypass_channels(self.whole, self.width, stride)
            self._bypass[stride] = others.contiguous(memory_format=torch.channels_last)
        return self._bypass[stride]

    def rectified_whole(self) -> Tensor:
        """Return all channels after ReLU."""
        return self.input("rectified") if self.value is self.whole else F.relu(self.whole)

    def input(self, name: str) -> Tensor:
        """Return a tensor that operations read.

        Args:
            name: ``value``: the attribute. ``rectified``: ``value`` after ReLU. ``even``: the
                pixels of ``rectified`` in even rows and columns, ``(B, C, ceil(H/2), ceil(W/2))``.
                ``odd``: the pixels in odd ones, padded with zeros to the size of ``even``.
        """
        tensors = self._inputs
        if name not in tensors:
            if name == "rectified":
                tensors[name] = F.relu(self.value)
            else:
                tensors["even"], tensors["odd"] = split_even_odd(self.input("rectified"))
        return tensors[name]

    def pooled_once(self, pool: Pool) -> Tensor:
        """Return ``pool(value)``."""
        key = str(pool)
        if key not in self._inputs:
            self._inputs[key] = pool(self.value)
        return self._inputs[key]

    def pooled(self, pool: Pool, eps: float) -> Normalized:
        """Return ``value`` after pooling and batch norm by the statistics of the batch."""
        key = f"{pool} {eps}"
        if key not in self._pooled:
            self._pooled[key] = normalize_shared(run_pool(pool, self.value), eps)
        return self._pooled[key]


def add_nodes(
    states: list[State],
    count: int,
    edges: Sequence[tuple[tuple[int, int], bool, nn.Module]],
    probability: float,
) -> None:
    """Append the nodes of a discrete cell to the states; a node is the sum of its edges.

    Args:
        edges: Source and target, whether the operation reads the rectified source, and the
            operation.
        probability: Drop path probability; identities are never dropped.
    """
    for node in range(len(states), len(states) + count):
        terms = [
            _run_edge(operation, states[source], rectified, probability)
            for (source, target), rectified, operation in edges
            if target == node
        ]
        total = reduce(torch.add, terms) if terms else torch.zeros_like(states[0].value)
        states.append(State(total))


def _run_edge(operation: nn.Module, state: State, rectified: bool, probability: float) -> Tensor:
    if isinstance(operation, nn.MaxPool2d | nn.AvgPool2d):
        x = state.pooled_once(operation)
    else:
        x = operation(state.input("rectified") if rectified else state.value)
    return x if isinstance(operation, nn.Identity) else drop_path(operation, x, probability)


def run_pool(pool: Pool, x: Tensor) -> Tensor:
    """Return ``pool(x)``, computed by a fast kernel where there is one."""
    if isinstance(pool, nn.AvgPool2d) and (pool.kernel_size, pool.stride) == (3, 1):
        return avg_pool3x3(x)
    output: Tensor = pool(x)
    return output


class BundleInputs:
    """States and mixing weights ``(edges, operations)`` of a bundle, and tensors from them.

    The edges are ordered by state, and each state has the same number of edges.
    """

    def __init__(self, states: Sequence[State], nodes: Sequence[int], weights: Tensor) -> None:
        self.states, self.nodes = states, nodes
        self.per_state = len(nodes) // len(states)
        self._weights = weights
        self._columns = weights.unbind(1)
        self._channel_columns: tuple[Tensor, ...] | None = None
        self._joint: dict[str, Tensor] = {}
        self._repeated: dict[str, Tensor] = {}

    def joint(self, name: str) -> Tensor:
        """Return ``State.input`` of all states, ``(B, states * C, H, W)``."""
        if name not in self._joint:
            tensors = [state.input(name) for state in self.states]
            self._joint[name] = tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)
        return self._joint[name]

    def repeated(self, name: str) -> Tensor:
        """Return ``State.input`` of the state of each edge, ``(B, edges * C, H, W)``."""
        if name not in self._repeated:
            joint = self.joint(name)
            self._repeated[name] = repeat_groups(joint, len(self.states), self.per_state)
        return self._repeated[name]

    def scale(self, column: int, edges: Sequence[int]) -> Tensor:
        """Return the mixing weights of an operation, ``(len(edges),)``."""
        weights, first, last = self._columns[column], edges[0], edges[-1]
        if last - first + 1 == len(edges):
            return weights[first : last + 1]
        scalars = weights.unbind()
        return torch.stack([scalars[edge] for edge in edges])

    def channel_scale(self, column: int, edges: Sequence[int], channels: int) -> Tensor:
        """Return the mixing weight of an operation for each channel of some edges."""
        if len(edges) < len(self.nodes):
            return repeat_per_channel(self.scale(column, edges), channels)
        if self._channel_columns is None:
            expanded = self._weights.t()[:, :, None].expand(-1, -1, channels)
            # One tensor per operation. For one edge, flatten returns a view of stride 0, with which
            # batch norm is slow and its gradient in evaluation mode wrong (PyTorch 2.13, CPU).
            self._channel_columns = expanded.flatten(1).contiguous().unbind()
        return self._channel_columns[column]


class Copies:
    """Some consecutive copies of a stacked operation, see ``darts.spaces.cnn.stacking``.

    They belong to ``edges``; ``first`` is the number of the first one, from 0, and ``total`` the
    number of all copies. ``running_stats`` adds the batch counters of norms to ``counters``.
    """

    def __init__(
        self,
        inputs: BundleInputs,
        column: int,
        edges: Sequence[int],
        *,
        first: int,
        total: int,
        counters: list[Tensor],
    ) -> None:
        self.inputs = inputs
        self.first, self.count, self.total = first, len(edges), total
        self.nodes = [inputs.nodes[edge] for edge in edges]
        self.is_whole_bundle = len(edges) == len(inputs.nodes)
        self._counters = counters
        self._column, self._edges = column, edges

    @property
    def states(self) -> list[State]:
        """The state that each copy reads."""
        return [self.inputs.states[edge // self.inputs.per_state] for edge in self._edges]

    @property
    def scale(self) -> Tensor:
        """Mixing weight of each copy, ``(count,)``."""
        return self.inputs.scale(self._column, self._edges)

    def channel_scale(self, channels: int) -> Tensor:
        """Return the mixing weight of each channel, ``(count * channels,)``."""
        return self.inputs.channel_scale(self._column, self._edges, channels)

    def rows(self, stacked: Tensor | None) -> Tensor:
        """Return the rows of a stacked tensor that belong to these copies; a view."""
        assert stacked is not None
        if self.count == self.total:
            return stacked
        per_copy = stacked.shape[0] // self.total
        return stacked[self.first * per_copy : (self.first + self.count) * per_copy]

    def running_stats(self, norm: nn.BatchNorm2d) -> RunningStats | None:
        """Return the running statistics of these copies; None if the norm has none at present.

        If the first copy is among them, add the norm's batch counter to ``counters``.
        """
        if norm.running_mean is None:  # ``FunctionalLoss.at`` removes them
            return None
        if self.first == 0:
            self._counters.append(cast(Tensor, norm.num_batches_tracked))
        momentum = cast(float, norm.momentum)
        return RunningStats(self.rows(norm.running_mean), self.rows(norm.running_var), momentum)

    def read(self, name: str) -> Tensor:
        """Return ``State.input`` of the state of each copy, ``(B, count * C, H, W)``."""
        if self.is_whole_bundle:
            return self.inputs.repeated(name)
        tensors = [state.input(name) for state in self.states]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)

    def read_shared(self, name: str) -> Tensor:
        """Return what ``read`` does, but each state of a whole bundle only once."""
        return self.inputs.joint(name) if self.is_whole_bundle else self.read(name)

    def separable_input(
        self, module: nn.Conv2d, x: Tensor | None, *, fused: bool
    ) -> tuple[Tensor, int, int]:
        """Return the input, stride and dilation of a depthwise convolution.

        ``x`` is None for the rectified states. With ``fused``, edges may share their channels.
        """
        stride, dilation = module.stride[0], module.dilation[0]
        if x is not None:
            return x, stride, dilation
        read = self.read_shared if fused else self.read
        if stride == dilation == 2:  # reads only the pixels in even rows and columns
            return read("even"), 1, 1
        return read("rectified"), stride, dilation

    def convolve(self, module: nn.Conv2d, x: Tensor | None) -> Tensor:
        """Run these copies of a stacked convolution on ``x``; None for the rectified states."""
        weight, groups = self.rows(module.weight), module.groups // self.total * self.count
        padding = cast(tuple[int, int], module.padding)
        if x is None:
            x = self.read("rectified")
        return F.conv2d(x, weight, None, module.stride, padding, module.dilation, groups)
