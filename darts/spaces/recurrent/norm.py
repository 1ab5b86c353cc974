"""Batch norm of the search cell: many small batches in a row, one set of running statistics.

As published, state 0 and all nodes at all steps share them. They are moved once, at the end of a
sequence, by the statistics of all its batches in their order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import values_per_channel, normalize_shared


class SequenceNorm:
    """Normalizes the states of one sequence.

    Args:
        norm: without affine parameters; keeps the running statistics.
        training: whether the statistics are those of each batch.
        group: process group whose ranks hold parts of the batch; None for one process.
    """

    def __init__(self, norm: nn.BatchNorm2d, training: bool, group: Any = None) -> None:
        self.norm, self.training, self.group = norm, training, group
        self._means: list[Tensor] = []
        self._spreads: list[Tensor] = []  # variances of several ranks, else inverse deviations
        self._size = 2

    def __call__(self, x: Tensor) -> Tensor:
        """Batch norm, ``(B, H)`` -> the same.

        Raises:
            ValueError: for a batch of one in training, which has no variance.
        """
        norm = self.norm
        if not self.training:
            return F.batch_norm(x, norm.running_mean, norm.running_var, eps=norm.eps)
        if self.group is not None:
            found = normalize_shared(x[:, :, None, None], norm.eps, self.group)
            output, mean, spread = found.output[:, :, 0, 0], found.mean, found.variance
        else:
            self._size = values_per_channel(x)
            output, mean, spread = torch.native_batch_norm(
                x, None, None, None, None, True, 0.0, norm.eps
            )
        self._means.append(mean)
        self._spreads.append(spread)
        return output

    @torch.no_grad()
    def move_running(self) -> None:
        """One exponential moving average after the other is a weighted sum of all."""
        norm, count = self.norm, len(self._means)
        if not count:
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        mean, spread = torch.stack(self._means), torch.stack(self._spreads)  # (count, H)
        if self.group is None:
            biased = spread.double().pow(-2) - norm.eps
            spread = biased * (self._size / (self._size - 1))
        steps = torch.arange(count, -1, -1, dtype=torch.float64, device=mean.device)
        left = (1.0 - norm.momentum) ** steps
        for running, values in ((norm.running_mean, mean), (norm.running_var, spread)):
            moved = (norm.momentum * left[1:]) @ values.double()
            running.copy_(left[0] * running + moved)
        norm.num_batches_tracked.add_(count)
