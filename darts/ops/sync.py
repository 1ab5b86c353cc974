"""Sums over the ranks of a distributed run that gradients flow through, and batch norm on them.

PyTorch's own ``nn.SyncBatchNorm`` runs on GPUs alone and cannot be differentiated twice, which the
exact unrolled gradient of the alphas needs.

References:
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, algorithm 1.
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", 1979: how means and variances of parts make up those of the whole.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SyncedBatchNorm2d", "all_sum", "batch_statistics", "synchronize"]


class _AllSum(torch.autograd.Function):
    """A sum over ranks; the gradient of each summand is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _AllSum.apply(gradients[0], ctx.group), None


def all_sum(x: Tensor, group: Any) -> Tensor:
    """The sum of a tensor over the ranks of a group, differentiable any number of times.

    What is differentiated is the sum of all ranks' losses: each rank calls ``backward`` on its own
    loss, and all of them must, since the backward pass communicates too.

    Args:
        x: of the same shape and type on every rank.
        group: a process group; ``None`` stands for one process and gives ``x`` itself.
    """
    return x if group is None else _AllSum.apply(x, group)


def batch_statistics(x: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Statistics of the channels over the samples of all ranks, differentiable.

    Each rank takes mean and variance of its own samples in two passes, and these are combined, so
    that a large mean costs no digits.

    Args:
        x: this rank's samples, ``(B, C, H, W)``; B may differ between ranks.
        group: their process group.

    Returns:
        Mean and biased variance, ``(C,)``, and the number of values a channel, ``(1,)``.
    """
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    row = torch.cat([mean.new_full((1,), x.numel() // x.shape[1]), mean, variance])
    # A row a rank, all others zero: the sum is a gathering that gradients flow through.
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    table = all_sum(F.pad(row[None], (0, 0, rank, ranks - 1 - rank)), group)
    counts, means, variances = table.split([1, len(mean), len(mean)], dim=1)
    count = counts.sum(0)
    share = counts / count  # (ranks, 1)
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0), count


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` whose batch is that of all ranks together.

    Ranks may hold different numbers of samples, at least one each. Under autocast the statistics
    are computed in float32. In evaluation mode, and without a process group, it is
    ``nn.BatchNorm2d``.

    Attributes:
        process_group: the ranks that share a batch, or None.

    Shape: ``(B, C, H, W)`` -> the same.
    """

    process_group: Any = None

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.process_group is None:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        mean, variance, count = batch_statistics(x, self.process_group)
        self._move_running(mean.detach(), variance.detach(), count)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        x = (x - _channels(mean)) * _channels(scale)
        if self.bias is not None:
            x = x + _channels(self.bias)
        return x.to(input.dtype)

    @torch.no_grad()
    def _move_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """The running statistics as ``nn.BatchNorm2d`` keeps them: the variance is unbiased."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        # Without a momentum, the plain mean over all batches so far.
        seen = float(self.num_batches_tracked or 1) if self.momentum is None else 1.0
        factor = 1.0 / seen if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), factor)


def synchronize(net: nn.Module, group: Any) -> nn.Module:
    """Make a network take its batch statistics over all ranks of a group, in place.

    Every ``nn.BatchNorm2d`` becomes a ``SyncedBatchNorm2d`` with the same parameters, buffers and
    names. Any other submodule that has an attribute ``process_group`` gets the group, and is
    expected to sum its statistics by ``all_sum``. A network so changed cannot be deep-copied.

    Returns:
        The network itself.
    """
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            # A change of class alone keeps parameters, buffers, hooks and the parents' references.
            module.__class__ = SyncedBatchNorm2d
        if hasattr(module, "process_group"):
            module.process_group = group
    return net


def _channels(x: Tensor) -> Tensor:
    return x.view(1, -1, 1, 1)
