"""Differentiable sums over the ranks of a distributed run, and batch norm based on them.

``torch.nn.SyncBatchNorm`` supports GPUs only. It also cannot be differentiated twice, which the
exact second-order gradient of the alphas needs.

References:
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, algorithm 1.
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", 1979: how to combine means and variances of subsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.autograd import Context, OneOutput

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class _AllReduceSum(OneOutput):
    """A sum over ranks. The gradient of each summand is the sum of the gradients of all ranks."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None]:
        return _AllReduceSum.apply(gradients[0], ctx.group), None


def all_reduce_sum(x: Tensor, group: ProcessGroup | None) -> Tensor:
    """Sum a tensor over the ranks of a group, differentiable any number of times.

    Gradients belong to the sum of the losses of all ranks. Every rank must call ``backward`` on
    its own loss, because the backward pass communicates as well. Shape and dtype are the same on
    every rank. Without a group, the result is ``x`` itself.
    """
    return x if group is None else _AllReduceSum.apply(x, group)


class Statistics(NamedTuple):
    """Statistics of the channels over the samples of all ranks.

    Attributes:
        mean: ``(C,)``.
        variance: Biased, ``(C,)``.
        number: Values per channel, ``(1,)``.
    """

    mean: Tensor
    variance: Tensor
    number: Tensor


def synced_statistics(xs: Sequence[Tensor], group: ProcessGroup) -> list[Statistics]:
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
    table = all_reduce_sum(F.pad(row[None], (0, 0, rank, ranks - 1 - rank)), group)
    parts = torch.split(table, [len(part) for part in own], dim=1)
    results = []
    for counts, means, variances in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        count = counts.sum(0)
        share = counts / count  # (ranks, 1)
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
        results.append(Statistics(mean, variance, count))
    return results


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` with the statistics of the batches of all ranks.

    Ranks may hold different numbers of samples, at least one each. Under autocast the statistics
    are computed in float32. In evaluation mode, and without a process group, the module behaves
    like ``nn.BatchNorm2d``.

    Attributes:
        process_group: Ranks that share a batch, or None.

    Shape: ``(B, C, H, W)`` -> the same.
    """

    process_group: ProcessGroup | None = None

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.process_group is None:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        ((mean, variance, count),) = synced_statistics([x], self.process_group)
        self._update_running(mean.detach(), variance.detach(), count)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        x = (x - _as_channels(mean)) * _as_channels(scale)
        if self.bias is not None:
            x = x + _as_channels(self.bias)
        return x.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running statistics; as in ``nn.BatchNorm2d``, their variance is unbiased."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        # Without a momentum, the running statistics are the plain mean over all batches.
        batches = float(self.num_batches_tracked or 1) if self.momentum is None else 1.0
        factor = 1.0 / batches if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), factor)


def convert_sync_batch_norm(net: nn.Module, group: ProcessGroup | None) -> nn.Module:
    """Make a network compute its batch statistics over all ranks of a group, in place.

    Every ``nn.BatchNorm2d`` becomes a ``SyncedBatchNorm2d`` with the same parameters, buffers and
    names. Any other submodule with an attribute ``process_group`` gets the group and must sum its
    statistics with ``all_reduce_sum``. The converted network cannot be deep-copied.
    """
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            # Changing only the class keeps parameters, buffers, hooks and references to the module.
            module.__class__ = SyncedBatchNorm2d
        if hasattr(module, "process_group"):
            module.process_group = group  # type: ignore[assignment]
    return net


def _as_channels(x: Tensor) -> Tensor:
    return x.view(1, -1, 1, 1)
