"""Running weighted sums of batch-normalized feature maps that store none of them.

A plain batch norm writes its output, which the sum then reads once. Here the statistics of the
batch give a factor and a shift per channel. One pass multiplies the feature map by the factor and
adds it to the sum. The shifts of all feature maps are added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darts.ops.autograd import Context, SeveralOutputs
from darts.ops.batch_norm import (
    RunningStats,
    folded_statistics,
    num_folds,
    repeat_per_fold,
    values_per_channel,
)
from darts.ops.pixels import fold, repeat_per_channel

_NHWC = torch.channels_last


class SumAccumulator:
    """An unfinished sum of feature maps."""

    def __init__(self) -> None:
        # Sum so far without the shifts, (B, C, H, W); None before the first term.
        self.value: Tensor | None = None
        self.shift: Tensor | None = None  # (C,), sum of the shifts of all normalized terms

    def add(self, term: Tensor) -> None:
        """Add ``(B, C, H, W)``. Do not use the term afterwards: the sum may overwrite it."""
        self.value = term if self.value is None else self.value.add_(term)

    def add_view(self, term: Tensor) -> None:
        """Add ``(B, C, H, W)``, which may be a view of a tensor that is still needed."""
        self.add(term.clone(memory_format=_NHWC) if self.value is None else term)

    def result(self) -> Tensor | None:
        """Return the sum, ``(B, C, H, W)``; None if nothing was added.

        Call this only once, after the last term, because each call adds the shifts.
        """
        if self.value is not None and self.shift is not None:
            with torch.no_grad():  # _AddNormalized.backward includes the gradient of the shift
                self.value.add_(self.shift.view(1, -1, 1, 1))
        return self.value


def add_normalized(
    totals: Sequence[SumAccumulator],
    y: Tensor,
    scale: Tensor,
    eps: float,
    running: RunningStats | None,
) -> None:
    """Normalize the outputs of several edges and add each, times its weight, to a sum.

    It is faster than ``normalize`` and additions. ``can_add_normalized(y)`` must be true.

    Args:
        totals: The sum of each edge; edges may share a sum.
        y: Outputs of all edges, ``(B, len(totals) * C, H, W)``.
        scale: Mixing weight of each edge, ``(len(totals),)``.
        eps, running: See ``normalize``.
    """
    count = values_per_channel(y)
    distinct = list(dict.fromkeys(totals))
    targets = [distinct.index(total) for total in totals]
    before = [total.value for total in distinct]
    *values, mean, variance, shifts = _AddNormalized.apply(y, scale, eps, targets, *before)
    for total, value in zip(distinct, values, strict=True):
        total.value = value
    for total, shift in zip(totals, shifts.unbind(), strict=True):
        total.shift = shift if total.shift is None else total.shift.add_(shift)
    if running is not None:
        running.update(mean, variance * (count / (count - 1)))


def can_add_normalized(y: Tensor) -> bool:
    """Return whether ``add_normalized`` supports a feature map."""
    full_precision = y.dtype in (torch.float32, torch.float64)
    nhwc = y.is_contiguous(memory_format=_NHWC)
    return full_precision and nhwc and y.device.type == "cpu"


class _AddNormalized(SeveralOutputs):
    """Add each group of ``y``, times its factor per channel, to its total in place.

    Also return the mean, variance and shifts, which carry no gradient.
    """

    @staticmethod
    def forward(
        ctx: Context,
        y: Tensor,
        scale: Tensor,
        eps: float,
        targets: Sequence[int],
        *totals: Tensor | None,
    ) -> tuple[Tensor, ...]:
        groups = len(targets)
        folds = num_folds(y) if groups == 1 else 1
        mean, variance = folded_statistics(y, folds)
        inverse = (variance + eps).rsqrt_()
        factor = (inverse.view(groups, -1) * scale[:, None]).view(-1)
        shifts = (mean * factor).view(groups, -1).neg_()
        folded, factors = fold(y, folds), repeat_per_fold(factor, folds)
        results = list(totals)
        for target, group, weights in zip(
            targets, folded.chunk(groups, 1), factors.chunk(groups, 1), strict=True
        ):
            total = results[target]
            if total is None:
                total = torch.empty_like(y[:, : y.shape[1] // groups], memory_format=_NHWC)
                torch.mul(group, weights, out=fold(total, folds))
                results[target] = total
            else:
                fold(total, folds).addcmul_(group, weights)
        ctx.mark_dirty(*(total for total in totals if total is not None))
        ctx.save_for_backward(y, scale, mean, inverse)
        ctx.targets, ctx.eps = targets, eps
        ctx.mark_non_differentiable(mean, variance, shifts)
        return *(total for total in results if total is not None), mean, variance, shifts

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        y, scale, mean, inverse = ctx.saved_tensors
        need_y, need_scale, _, _, *need_totals = ctx.needs_input_grad
        groups = len(ctx.targets)
        per_group = [gradients[target] for target in ctx.targets]
        gradient = per_group[0] if groups == 1 else torch.cat(per_group, dim=1)
        weight = repeat_per_channel(scale, y.shape[1] // groups)
        need = [need_y, need_scale, False]
        grad_y, grad_weight, _ = torch.ops.aten.native_batch_norm_backward(
            gradient, y, weight, None, None, mean, inverse, True, ctx.eps, need
        )
        grad_scale = grad_weight.view(groups, -1).sum(1) if need_scale else None
        by_total = [g if need else None for g, need in zip(gradients, need_totals, strict=False)]
        return grad_y, grad_scale, None, None, *by_total
