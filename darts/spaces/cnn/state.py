"""A state of a cell, and the tensors computed from it that several operations share."""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import Normalized, normalize_shared
from darts.ops.grouped_conv import avg_pool3x3
from darts.ops.pixels import split_even_odd
from darts.ops.sums import dense_gradient
from darts.spaces.cnn.operations import bypass_channels

Pool: TypeAlias = nn.MaxPool2d | nn.AvgPool2d


class State:
    """One state of a cell, ``(B, C, H, W)``; derived tensors are computed once.

    Args:
        whole: The state with all channels.
        width: Number of channels that pass through operations (the first ones); all by default.

    Attributes:
        value: The channels that pass through operations.
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
        bypassed = self.width < self.whole.shape[1]
        return F.relu(self.whole) if bypassed else self.input("rectified")

    def input(self, name: str) -> Tensor:
        """Return a tensor that operations read.

        Args:
            name: ``value``: the attribute. ``rectified``: ``value`` after ReLU. ``even``: the
                pixels of ``rectified`` in even rows and columns, ``(B, C, ceil(H/2), ceil(W/2))``.
                ``odd``: those in odd rows and columns, padded with zeros to the size of ``even``.
        """
        tensors = self._inputs
        if name not in tensors:
            if name == "rectified":
                tensors[name] = F.relu(self.value)
            else:
                tensors["even"], tensors["odd"] = split_even_odd(self.input("rectified"))
        return tensors[name]

    def pooled(self, pool: Pool, eps: float) -> Normalized:
        """Return ``value`` after pooling and batch norm by the statistics of the batch."""
        key = f"{pool} {eps}"
        if key not in self._pooled:
            self._pooled[key] = normalize_shared(run_pool(pool, self.value), eps)
        return self._pooled[key]


def run_pool(pool: Pool, x: Tensor) -> Tensor:
    """Return ``pool(x)``, computed by a fast kernel where there is one."""
    if isinstance(pool, nn.AvgPool2d) and (pool.kernel_size, pool.stride) == (3, 1):
        return avg_pool3x3(x)
    output: Tensor = pool(x)
    return output
