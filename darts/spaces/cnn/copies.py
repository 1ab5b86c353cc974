"""Consecutive copies of a stacked operation, and kernels that run them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats
from darts.spaces.cnn.state import State


class Copies:
    """Some consecutive copies of a stacked operation, see ``darts.spaces.cnn.stacking``.

    Args:
        states: the state that each copy reads.
        first: index of the first copy.
        total: number of copies in the stacked operation.
    """

    def __init__(self, states: Sequence[State], first: int, total: int) -> None:
        self.states = states
        self.first, self.count, self.total = first, len(states), total

    def rows(self, stacked: Tensor | None) -> Tensor:
        """Return the rows of a stacked tensor that belong to these copies; a view."""
        assert stacked is not None
        each = stacked.shape[0] // self.total
        return stacked[self.first * each : (self.first + self.count) * each]

    def running_stats(self, norm: nn.BatchNorm2d) -> RunningStats:
        """Return the running statistics of these copies and count a batch."""
        if self.first == 0:
            cast(Tensor, norm.num_batches_tracked).add_(1)
        momentum = cast(float, norm.momentum)
        return RunningStats(self.rows(norm.running_mean), self.rows(norm.running_var), momentum)

    def inputs(self, view: str) -> Tensor:
        """Return a view of the states, concatenated: ``(B, count * C, H, W)``."""
        tensors = [state.view(view) for state in self.states]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)

    def convolve(self, module: nn.Conv2d, x: Tensor | None) -> Tensor:
        """Run a stacked convolution; None for ``x`` reads the states."""
        weight, groups = self.rows(module.weight), module.groups // self.total * self.count
        padding = cast(tuple[int, int], module.padding)
        if x is None:
            x = self.inputs("rectified")
        return F.conv2d(x, weight, None, module.stride, padding, module.dilation, groups)

    def separable_input(self, module: nn.Conv2d, x: Tensor | None) -> tuple[Tensor, int, int]:
        """Return the input, stride and dilation of a depthwise convolution.

        None for ``x`` reads the states.
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
        """Apply batch norm by the running statistics of these copies.

        Args:
            x: ``(B, count * C, H, W)``.
            norm: the stacked batch norm.
            factor: ``(count * C,)``, multiplied to the result; ones by default.
        """
        mean, variance = self.rows(norm.running_mean), self.rows(norm.running_var)
        return F.batch_norm(x, mean, variance, factor, None, False, 0.0, norm.eps)


def is_separable(convolutions: Sequence[nn.Conv2d]) -> bool:
    """Return whether these are a depthwise convolution with a square kernel and a pointwise one."""
    if len(convolutions) != 2:
        return False
    first, second = convolutions
    square = first.kernel_size[0] == first.kernel_size[1]
    return square and first.groups == first.in_channels and second.kernel_size == (1, 1)


def consecutive_runs(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """Split sorted indices into runs of consecutive ones, each of at most ``size``."""
    run: list[int] = []
    for index in indices:
        if run and (index != run[-1] + 1 or len(run) == size):
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def select(column: Tensor, indices: Sequence[int]) -> Tensor:
    """Return the elements at sorted indices; a view if these are consecutive."""
    if indices[-1] - indices[0] + 1 == len(indices):
        return column[indices[0] : indices[-1] + 1]
    return column[list(indices)]
