"""A running weighted sum of batch-normalized feature maps that stores none of them.

A plain batch norm writes its output, which the sum then reads once. Here the statistics of the
batch give a factor and a shift per channel. One pass multiplies the feature map by the factor and
adds it to the sum. The shifts of all feature maps are added at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from darts.ops.autograd import Context, SeveralOutputs
from darts.ops.batch_norm import RunningStats, values_per_channel
from darts.ops.folded_norm import folded_statistics, num_folds, repeat_per_fold
from darts.ops.pixels import fold

_NHWC = torch.channels_last


class SumAccumulator:
    """An unfinished sum of feature maps.

    Attributes:
        value: Sum so far without the shifts, ``(B, C, H, W)``; None before the first term.
    """

    def __init__(self) -> None:
        self.value: Tensor | None = None
        self._shift: Tensor | None = None  # (C,), sum of the shifts of all normalized terms

    def add(self, term: Tensor) -> None:
        """Add ``(B, C, H, W)``. Do not use the term afterwards: the sum may overwrite it."""
        self.value = term if self.value is None else self.value.add_(term)

    def add_normalized(
        self, y: Tensor, scale: Tensor, groups: int, eps: float, running: RunningStats
    ) -> None:
        """Add ``sum_groups(normalize(y, repeat_per_channel(scale, y), eps, running), groups)``.

        ``groups`` is the number of edges whose outputs ``y``, ``(B, groups * C, H, W)``, contains.
        ``can_add_normalized(y)`` must be true. ``scale`` is the mixing weight of each edge,
        ``(groups,)``.
        """
        count = values_per_channel(y)
        self.value, mean, variance, shift = _AddNormalized.apply(self.value, y, scale, groups, eps)
        running.update(mean, variance * (count / (count - 1)))
        self._shift = shift if self._shift is None else self._shift.add_(shift)

    def result(self) -> Tensor | None:
        """Return the sum, ``(B, C, H, W)``; None if nothing was added.

        Call this only once, after the last term, because each call adds the shifts.
        """
        if self.value is not None and self._shift is not None:
            with torch.no_grad():  # _AddNormalized.backward includes the gradient of the shift
                self.value.add_(self._shift.view(1, -1, 1, 1))
        return self.value


def can_add_normalized(y: Tensor) -> bool:
    """Return whether ``SumAccumulator.add_normalized`` supports a feature map."""
    full_precision = y.dtype in (torch.float32, torch.float64)
    nhwc = y.is_contiguous(memory_format=_NHWC)
    return full_precision and nhwc and y.device.type == "cpu" and not torch.compiler.is_compiling()


class _AddNormalized(SeveralOutputs):
    """Add ``y`` times its factor per channel to ``total`` in place.

    Also return the mean, variance and shift, which carry no gradient.
    """

    @staticmethod
    def forward(
        ctx: Context, total: Tensor | None, y: Tensor, scale: Tensor, groups: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        folds = num_folds(y) if groups == 1 else 1
        mean, variance = folded_statistics(y, folds)
        inverse = (variance + eps).rsqrt_()
        factor = (inverse.view(groups, -1) * scale[:, None]).view(-1)
        shift = (mean * factor).view(groups, -1).sum(0).neg_()
        folded, factors = fold(y, folds), repeat_per_fold(factor, folds)
        pairs = list(zip(folded.chunk(groups, 1), factors.chunk(groups, 1), strict=True))
        if total is None:
            total = torch.empty_like(y[:, : y.shape[1] // groups], memory_format=_NHWC)
            group, weights = pairs.pop(0)
            torch.mul(group, weights, out=fold(total, folds))
        else:
            ctx.mark_dirty(total)
        folded_total = fold(total, folds)
        for group, weights in pairs:
            folded_total.addcmul_(group, weights)
        ctx.save_for_backward(y, scale, mean, inverse)
        ctx.groups, ctx.eps = groups, eps
        ctx.mark_non_differentiable(mean, variance, shift)
        return total, mean, variance, shift

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        y, scale, mean, inverse = ctx.saved_tensors
        need_total, need_y, need_scale = ctx.needs_input_grad[:3]
        gradient, groups = gradients[0], ctx.groups
        repeated = gradient if groups == 1 else torch.cat([gradient] * groups, dim=1)
        weight = scale[:, None].expand(-1, y.shape[1] // groups).reshape(-1)
        weight = weight.contiguous()  # batch norm is three times slower with a view of stride 0
        need = [need_y, need_scale, False]
        grad_y, grad_weight, _ = torch.ops.aten.native_batch_norm_backward(
            repeated, y, weight, None, None, mean, inverse, True, ctx.eps, need
        )
        grad_scale = grad_weight.view(groups, -1).sum(1) if need_scale else None
        return gradient if need_total else None, grad_y, grad_scale, None, None
