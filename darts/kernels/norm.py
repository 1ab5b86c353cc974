"""Batch norm without parameters of its own, with the statistics handed back.

The statistics come back so that edges that share an input can share its norm, each of them still
keeping running statistics of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from darts.kernels.sync import batch_statistics


class Normalised(NamedTuple):
    """A normalised batch, and the statistics of its channels, which carry no gradient."""

    output: Tensor
    mean: Tensor
    variance: Tensor  # unbiased, as running statistics take it


def normalise(x: Tensor, scale: Tensor | None, eps: float, group: Any = None) -> Normalised:
    """``scale * (x - mean) / sqrt(variance + eps)`` with the statistics of the batch.

    Args:
        x: ``(B, C, H, W)``.
        scale: ``(C,)``, or None for one.
        eps: added to the biased variance.
        group: process group whose ranks hold parts of the batch; None for one process.

    Raises:
        ValueError: for a single value a channel, which has no variance.
    """
    if group is not None:
        return _normalise_synced(x, scale, eps, group)
    count = more_than_one(x)
    output, mean, inverse = torch.native_batch_norm(x, scale, None, None, None, True, 0.0, eps)
    with torch.no_grad():
        variance = (inverse.double().pow(-2) - eps) * (count / (count - 1))
    return Normalised(output, mean.detach(), variance.to(mean.dtype))


def _normalise_synced(x: Tensor, scale: Tensor | None, eps: float, group: Any) -> Normalised:
    exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean, variance, count = batch_statistics(exact, group)
    factor = (variance + eps).rsqrt()
    if scale is not None:
        factor = factor * scale
    output = (exact - mean.view(1, -1, 1, 1)) * factor.view(1, -1, 1, 1)
    with torch.no_grad():
        unbiased = variance * (count / (count - 1))
    return Normalised(output.to(x.dtype), mean.detach(), unbiased)


def more_than_one(x: Tensor) -> int:
    """Number of values a channel of ``(B, C, H, W)``.

    Raises:
        ValueError: when there is only one.
    """
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(f"batch norm needs more than one value a channel, got {tuple(x.shape)}")
    return count


@torch.no_grad()
def update(
    running_mean: Tensor, running_var: Tensor, momentum: float, statistics: Normalised
) -> None:
    """Move running statistics, in place, towards those of a batch; all ``(C,)``."""
    running_mean.lerp_(statistics.mean.to(running_mean.dtype), momentum)
    running_var.lerp_(statistics.variance.to(running_var.dtype), momentum)
