"""Batch norm without parameters of its own, with the statistics handed back.

The statistics come back so that edges that share an input can share its norm, each of them still
keeping running statistics of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from darts.ops.folded import folded_norm, folds_of
from darts.ops.sync import batch_statistics


class Running(NamedTuple):
    """Running statistics of the channels of a batch, ``(C,)``, moved in place."""

    mean: Tensor
    variance: Tensor
    momentum: float

    @torch.no_grad()
    def move(self, mean: Tensor, variance: Tensor) -> None:
        """Towards the mean and the unbiased variance of a batch."""
        self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
        self.variance.lerp_(variance.to(self.variance.dtype), self.momentum)


class Normalized(NamedTuple):
    """A normalized batch, and the statistics of its channels, which carry no gradient."""

    output: Tensor
    mean: Tensor
    variance: Tensor  # unbiased, as running statistics take it


def normalize(
    x: Tensor, scale: Tensor | None, eps: float, running: Running, group: Any = None
) -> Tensor:
    """``scale * (x - mean) / sqrt(variance + eps)`` with the statistics of the batch.

    Args:
        x: ``(B, C, H, W)``.
        scale: ``(C,)``, or None for one.
        eps: added to the biased variance.
        running: is moved towards the batch's statistics.
        group: process group whose ranks hold parts of the batch; None for one process.

    Raises:
        ValueError: for a single value a channel, which has no variance.
    """
    if group is not None:
        normalized = _normalize_synced(x, scale, eps, group)
        running.move(normalized.mean, normalized.variance)
        return normalized.output
    count = more_than_one(x)
    if (folds := folds_of(x)) > 1:
        output, mean, variance = folded_norm(x, scale, eps, folds)
        running.move(mean, variance * (count / (count - 1)))
        return output
    return torch.native_batch_norm(
        x, _float_scale(x, scale), None, running.mean, running.variance, True, running.momentum, eps
    )[0]


def normalize_shared(x: Tensor, eps: float, group: Any = None) -> Normalized:
    """``normalize`` without a scale, for the caller to move the running statistics of several."""
    if group is not None:
        return _normalize_synced(x, None, eps, group)
    count = more_than_one(x)
    if (folds := folds_of(x)) > 1:
        output, mean, variance = folded_norm(x, None, eps, folds)
        return Normalized(output, mean, variance * (count / (count - 1)))
    output, mean, inverse = torch.native_batch_norm(
        x, _float_scale(x, None), None, None, None, True, 0.0, eps
    )
    with torch.no_grad():
        variance = (inverse.double().pow(-2) - eps) * (count / (count - 1))
    return Normalized(output, mean.detach(), variance.to(mean.dtype))


def _float_scale(x: Tensor, scale: Tensor | None) -> Tensor | None:
    """The scale; ones for reduced precision, whose statistics are in float32 only beside one."""
    if scale is not None or x.dtype not in (torch.float16, torch.bfloat16):
        return scale
    return torch.ones(x.shape[1], device=x.device)


def _normalize_synced(x: Tensor, scale: Tensor | None, eps: float, group: Any) -> Normalized:
    exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean, variance, count = batch_statistics(exact, group)
    factor = (variance + eps).rsqrt()
    if scale is not None:
        factor = factor * scale
    output = (exact - mean.view(1, -1, 1, 1)) * factor.view(1, -1, 1, 1)
    with torch.no_grad():
        unbiased = variance * (count / (count - 1))
    return Normalized(output.to(x.dtype), mean.detach(), unbiased)


def more_than_one(x: Tensor) -> int:
    """Number of values a channel of ``(B, C, H, W)``.

    Raises:
        ValueError: when there is only one.
    """
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(f"batch norm needs more than one value a channel, got {tuple(x.shape)}")
    return count
