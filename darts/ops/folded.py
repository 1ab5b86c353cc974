"""Batch norm of few channels, with neighboring pixels taken for channels.

PyTorch's batch norm runs along the channels of one pixel after the other and is slow where these
are few. k pixels of a row with C channels each lie in memory like one pixel of k * C: the
statistics of the k parts are taken and combined. The backward pass, where less is to be gained, is
PyTorch's.

References:
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", 1979: how means and variances of parts make up those of the whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from darts.ops.pixels import fold

_NHWC = torch.channels_last
_CHANNELS = 64  # beyond, nothing is gained
_VALUES = 2**20  # below, the small operations on the statistics cost more than is gained


def folds_of(x: Tensor) -> int:
    """How many pixels to take together; 1 where the plain batch norm is as fast.

    Args:
        x: ``(B, C, H, W)``.
    """
    plain = x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() < _VALUES
    if plain or torch.compiler.is_compiling() or not x.is_contiguous(memory_format=_NHWC):
        return 1
    folds = 1
    while 2 * folds * x.shape[1] <= _CHANNELS and x.shape[3] % (2 * folds) == 0:
        folds *= 2
    return folds


def folded_norm(
    x: Tensor, scale: Tensor | None, eps: float, folds: int
) -> tuple[Tensor, Tensor, Tensor]:
    """``scale * (x - mean) / sqrt(variance + eps)`` with the statistics of the batch.

    Args:
        x: ``(B, C, H, W)``, channels_last contiguous.
        scale: ``(C,)``, or None for one.
        eps: added to the variance.
        folds: a divisor of W.

    Returns:
        The normalized batch, its mean and its biased variance, ``(C,)``; these carry no gradient.
    """
    output, mean, variance = _FoldedNorm.apply(x, scale, eps, folds)
    return output, mean, variance


class _FoldedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor | None, eps: float, folds: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = batch_statistics(x, folds)
        inverse = (variance + eps).rsqrt_()
        factor = inverse if scale is None else inverse * scale
        output = torch.empty_like(x)  # no view, so that others may write into it
        shifts, factors = repeated(-mean * factor, folds), repeated(factor, folds)
        torch.addcmul(shifts, fold(x, folds), factors, out=fold(output, folds))
        ctx.save_for_backward(x, scale, mean, inverse)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, scale, mean, inverse = ctx.saved_tensors
        grad_x, grad_scale, _ = torch.ops.aten.native_batch_norm_backward(
            *(gradients[0], x, scale, None, None, mean, inverse),
            *(True, ctx.eps, [*ctx.needs_input_grad[:2], False]),
        )
        return grad_x, grad_scale, None, None


def batch_statistics(x: Tensor, folds: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of the channels of ``(B, C, H, W)``, ``(C,)``."""
    means, variances = torch.batch_norm_update_stats(fold(x, folds), None, None, 0.0)
    if folds == 1:
        return means, variances
    spread, mean = torch.var_mean(means.view(folds, -1), dim=0, correction=0)
    return mean, variances.view(folds, -1).mean(0).add_(spread)


def repeated(values: Tensor, folds: int) -> Tensor:
    """Of each channel for each of its folds, ``(C,) -> (1, folds * C, 1, 1)``."""
    return values.repeat(folds).view(1, -1, 1, 1)
