"""Faster batch normalization of few channels: neighboring pixels are treated as channels.

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

import torch
from torch import Tensor

from darts.ops.autograd import Context, SeveralOutputs
from darts.ops.pixels import fold

_NHWC = torch.channels_last
_MAX_CHANNELS = 64  # folding beyond this number of channels gains nothing
_MIN_VALUES = 2**20  # on smaller inputs, combining the statistics costs more than folding gains


def num_folds(x: Tensor) -> int:
    """Return how many neighboring pixels of ``(B, C, H, W)`` to fold; 1 for no folding."""
    unsupported = x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() < _MIN_VALUES
    if unsupported or not x.is_contiguous(memory_format=_NHWC):
        return 1
    folds = 1
    while 2 * folds * x.shape[1] <= _MAX_CHANNELS and x.shape[3] % (2 * folds) == 0:
        folds *= 2
    return folds


def folded_batch_norm(
    x: Tensor, scale: Tensor | None, eps: float, folds: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute ``scale * (x - mean) / sqrt(variance + eps)`` with the statistics of the batch.

    Args:
        x: ``(B, C, H, W)``, contiguous in channels_last layout.
        scale: ``(C,)``, or None for ones.
        eps: Added to the variance.
        folds: Number of pixels to fold; a divisor of W.

    Returns:
        The normalized batch, and its mean and biased variance, ``(C,)``, without a gradient.
    """
    output, mean, variance = _FoldedNorm.apply(x, scale, eps, folds)
    return output, mean, variance


class _FoldedNorm(SeveralOutputs):
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
