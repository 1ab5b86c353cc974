"""Batch normalization as functions, without parameters and buffers of their own.

``normalize_shared`` returns the statistics of the batch. Edges that share an input can therefore
share its normalization, and each edge still updates its own running statistics.

PyTorch's batch norm iterates over the channels of one pixel after another and is slow if there are
few channels. In channels_last layout, k neighboring pixels with C channels each have the memory
layout of one pixel with k * C channels. The statistics of these channels are computed, and the k
statistics of each original channel are then combined. Folding would gain little in the backward
pass, which uses PyTorch's kernel.

References:
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", 1979: how to combine means and variances of subsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from darts.ops.autograd import Context, OneOutput, SeveralOutputs
from darts.ops.pixels import fold

_MAX_CHANNELS = 64  # folding beyond this number of channels gains nothing
_MIN_VALUES = 2**20  # on smaller inputs, combining the statistics costs more than folding gains


class RunningStats(NamedTuple):
    """Running statistics of the channels, ``(C,)``, updated in place."""

    mean: Tensor
    variance: Tensor
    momentum: float

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Include the mean and the unbiased variance of a batch, ``(C,)``, in the averages."""
        self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
        self.variance.lerp_(variance.to(self.variance.dtype), self.momentum)

    def part(self, index: int, count: int) -> RunningStats:
        """Return the ``index``-th of ``count`` equal parts of the channels, as views."""
        size = len(self.mean) // count
        rows = slice(index * size, (index + 1) * size)
        return RunningStats(self.mean[rows], self.variance[rows], self.momentum)


class Normalized(NamedTuple):
    """A normalized batch ``(B, C, H, W)`` and its statistics ``(C,)``, which carry no gradient."""

    output: Tensor
    mean: Tensor
    variance: Tensor  # unbiased, as for running statistics


def normalize(
    x: Tensor,
    scale: Tensor | None,
    eps: float,
    running: RunningStats | None,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Compute ``scale * (x - mean) / sqrt(variance + eps)`` with the statistics of the batch.

    Args:
        x: ``(B, C, H, W)``, with more than one value per channel.
        scale: ``(C,)``, or None for ones.
        eps: Added to the biased variance.
        running: Running statistics to update, or None.
        group: Ranks that share the batch; None for one process.
    """
    if group is None and num_folds(x) == 1:
        values_per_channel(x)
        means, variances, momentum = running or (None, None, 0.0)
        scale = _float_scale(x, scale)
        return torch.native_batch_norm(x, scale, None, means, variances, True, momentum, eps)[0]
    output, mean, variance = normalize_shared(x, eps, group, scale)
    if running is not None:
        running.update(mean, variance)
    return output


def normalize_shared(
    x: Tensor, eps: float, group: dist.ProcessGroup | None = None, scale: Tensor | None = None
) -> Normalized:
    """Normalize like ``normalize``, and return the statistics.

    The caller updates the running statistics of every edge that shares the normalization.
    """
    if group is not None:
        (statistics,) = synced_statistics([full_precision(x)], group)
        return _normalized(x, scale, eps, statistics)
    count = values_per_channel(x)
    if (folds := num_folds(x)) > 1:
        output, mean, variance = FoldedNorm.apply(x, scale, eps, folds)
        return Normalized(output, mean, variance * (count / (count - 1)))
    output, mean, inverse = torch.native_batch_norm(
        x, _float_scale(x, scale), None, None, None, True, 0.0, eps
    )
    with torch.no_grad():
        variance = (inverse.double().pow(-2) - eps) * (count / (count - 1))
    return Normalized(output, mean.detach(), variance.to(mean.dtype))


def _float_scale(x: Tensor, scale: Tensor | None) -> Tensor | None:
    """Return the scale. If it is None and ``x`` has reduced precision, return float32 ones.

    With reduced precision, PyTorch computes the statistics in float32 only if a scale is given.
    """
    if scale is not None or x.dtype not in (torch.float16, torch.bfloat16):
        return scale
    return _ones(x.shape[1], x.device)


@cache
def _ones(channels: int, device: torch.device) -> Tensor:
    return torch.ones(channels, device=device)


class NormInput(NamedTuple):
    """Arguments of ``normalize``."""

    x: Tensor
    scale: Tensor | None
    eps: float
    running: RunningStats | None


def normalize_together(inputs: Sequence[NormInput], group: dist.ProcessGroup) -> list[Tensor]:
    """Call ``normalize`` for each input; the ranks exchange one message for all of them."""
    statistics = synced_statistics([full_precision(item.x) for item in inputs], group)
    outputs = []
    for (x, scale, eps, running), own in zip(inputs, statistics, strict=True):
        output, mean, variance = _normalized(x, scale, eps, own)
        if running is not None:
            running.update(mean, variance)
        outputs.append(output)
    return outputs


def full_precision(x: Tensor) -> Tensor:
    """Return a tensor of reduced precision in float32, and any other one as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _normalized(x: Tensor, scale: Tensor | None, eps: float, statistics: Statistics) -> Normalized:
    """Normalize by given statistics."""
    full, (mean, variance, count) = full_precision(x), statistics
    factor = (variance + eps).rsqrt()
    if scale is not None:
        factor = factor * scale
    output = (full - mean.view(1, -1, 1, 1)) * factor.view(1, -1, 1, 1)
    with torch.no_grad():
        unbiased = variance * (count / (count - 1))
    return Normalized(output.to(x.dtype), mean.detach(), unbiased)


class AllReduceSum(OneOutput):
    """A sum over the ranks of a group, differentiable any number of times.

    Gradients belong to the sum of the losses of all ranks: the gradient of each summand is the sum
    of the gradients of all ranks. Every rank must call ``backward`` on its own loss, because the
    backward pass communicates as well. Shape and dtype are the same on every rank.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None]:
        return AllReduceSum.apply(gradients[0], ctx.group), None


class Statistics(NamedTuple):
    """Statistics of the channels over the samples of all ranks."""

    mean: Tensor  # (C,)
    variance: Tensor  # biased, (C,)
    number: Tensor  # of values per channel, (1,)


def synced_statistics(xs: Sequence[Tensor], group: dist.ProcessGroup) -> list[Statistics]:
    """Return the statistics of several feature maps with one message; differentiable.

    Each rank computes mean and variance of its own samples, ``(B, C, H, W)``, in two passes.
    Combining them loses no precision even if the mean is large. B may differ between ranks, and C,
    H and W between feature maps.
    """
    own = []
    for x in xs:
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        own += [mean.new_full((1,), x.numel() // x.shape[1]), mean, variance]
    row = torch.cat(own)
    # Each rank fills its own row of a table of zeros, so that the sum gathers all rows and
    # gradients flow through it.
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    table = AllReduceSum.apply(F.pad(row[None], (0, 0, rank, ranks - 1 - rank)), group)
    parts = torch.split(table, [len(part) for part in own], dim=1)
    results = []
    for counts, means, variances in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        count = counts.sum(0)
        share = counts / count  # (ranks, 1)
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
        results.append(Statistics(mean, variance, count))
    return results


def values_per_channel(x: Tensor) -> int:
    """Return the number of values per channel of ``(B, C, H, W)``; raise ValueError if below 2."""
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(f"batch norm needs more than one value per channel, got {tuple(x.shape)}")
    return count


def num_folds(x: Tensor) -> int:
    """Return how many neighboring pixels of ``(B, C, H, W)`` to fold; 1 for no folding."""
    unsupported = x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() < _MIN_VALUES
    if unsupported or not x.is_contiguous(memory_format=torch.channels_last):
        return 1
    folds = 1
    while 2 * folds * x.shape[1] <= _MAX_CHANNELS and x.shape[3] % (2 * folds) == 0:
        folds *= 2
    return folds


class FoldedNorm(SeveralOutputs):
    """``normalize`` of a batch in channels_last layout; ``folds`` must divide W.

    The outputs are the normalized batch, and its mean and biased variance, ``(C,)``, without a
    gradient.
    """

    @staticmethod
    def forward(
        ctx: Context, x: Tensor, scale: Tensor | None, eps: float, folds: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = folded_statistics(x, folds)
        inverse = (variance + eps).rsqrt_()
        factor = inverse if scale is None else inverse * scale
        output = torch.empty_like(x)  # not a view, so that in-place operations may overwrite it
        shifts, factors = repeat_per_fold(-mean * factor, folds), repeat_per_fold(factor, folds)
        torch.addcmul(shifts, fold(x, folds), factors, out=fold(output, folds))
        ctx.save_for_backward(x, scale, mean, inverse)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    def backward(
        ctx: Context, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, scale, mean, inverse = ctx.saved_tensors
        need = [*ctx.needs_input_grad[:2], False]
        grad_x, grad_scale, _ = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, scale, None, None, mean, inverse, True, ctx.eps, need
        )
        return grad_x, grad_scale, None, None


def folded_statistics(x: Tensor, folds: int) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of the channels of ``(B, C, H, W)``, both ``(C,)``."""
    means, variances = torch.batch_norm_update_stats(fold(x, folds), None, None, 0.0)
    if folds == 1:
        return means, variances
    spread, mean = torch.var_mean(means.view(folds, -1), dim=0, correction=0)
    return mean, variances.view(folds, -1).mean(0).add_(spread)


def repeat_per_fold(values: Tensor, folds: int) -> Tensor:
    """Repeat the values of the channels for each fold, ``(C,)`` -> ``(1, folds * C, 1, 1)``."""
    return values.repeat(folds).view(1, -1, 1, 1)
