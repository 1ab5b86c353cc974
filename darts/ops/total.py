"""The weighted sum of normalized images, each added as soon as it is there and never stored.

A batch norm writes its output for the sum to read it once. Here the batch's statistics become a
factor and a shift of each channel; factor times image is added to the sum in the same pass, and the
shifts of all images at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from darts.ops.folded import batch_statistics, folds_of, repeated
from darts.ops.norm import Running, more_than_one
from darts.ops.pixels import fold

_NHWC = torch.channels_last


class Total:
    """A sum under way.

    Attributes:
        value: the sum so far, ``(B, C, H, W)``, but for the shifts; None before the first image.
    """

    def __init__(self) -> None:
        self.value: Tensor | None = None
        self._shift: Tensor | None = None  # (C,), of all normalized images so far

    def add(self, term: Tensor) -> None:
        """Add an image that nothing else reads or keeps: it may be overwritten."""
        self.value = term if self.value is None else self.value.add_(term)

    def add_normalized(
        self, y: Tensor, scale: Tensor, groups: int, eps: float, running: Running
    ) -> None:
        """Add ``sum_groups(normalize(y, per_channel(scale, y), eps, running), groups)``.

        Args:
            y: ``(B, groups * C, H, W)``, which ``can_add``.
            scale: weight of each group, ``(groups,)``.
            groups: number of groups.
            eps: added to the biased variance.
            running: is moved towards the batch's statistics.
        """
        count = more_than_one(y)
        self.value, mean, variance, shift = _AddNormalized.apply(self.value, y, scale, groups, eps)
        running.move(mean, variance * (count / (count - 1)))
        self._shift = shift if self._shift is None else self._shift.add_(shift)

    def result(self) -> Tensor | None:
        """The sum; None if nothing was added."""
        if self.value is not None and self._shift is not None:
            with torch.no_grad():  # the gradient of the norms covers it
                self.value.add_(self._shift.view(1, -1, 1, 1))
        return self.value


def can_add(y: Tensor) -> bool:
    """Whether ``Total.add_normalized`` takes an image; others want their norm for themselves."""
    exact = y.dtype in (torch.float32, torch.float64)
    dense = y.is_contiguous(memory_format=_NHWC)
    return exact and dense and y.device.type == "cpu" and not torch.compiler.is_compiling()


class _AddNormalized(torch.autograd.Function):
    """The sum, changed in place; mean, variance and shift of the channels, without gradients."""

    @staticmethod
    def forward(
        ctx: Any, total: Tensor | None, y: Tensor, scale: Tensor, groups: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        folds = folds_of(y) if groups == 1 else 1
        mean, variance = batch_statistics(y, folds)
        inverse = (variance + eps).rsqrt_()
        factor = (inverse.view(groups, -1) * scale[:, None]).view(-1)
        shift = (mean * factor).view(groups, -1).sum(0).neg_()
        folded, factors = fold(y, folds), repeated(factor, folds)
        parts = list(zip(folded.chunk(groups, 1), factors.chunk(groups, 1), strict=True))
        if total is None:
            total = torch.empty_like(y[:, : y.shape[1] // groups], memory_format=_NHWC)
            torch.mul(*parts.pop(0), out=fold(total, folds))
        else:
            ctx.mark_dirty(total)
        whole = fold(total, folds)
        for part, weights in parts:
            whole.addcmul_(part, weights)
        ctx.save_for_backward(y, scale, mean, inverse)
        ctx.groups, ctx.eps = groups, eps
        ctx.mark_non_differentiable(mean, variance, shift)
        return total, mean, variance, shift

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        y, scale, mean, inverse = ctx.saved_tensors
        need_total, need_y, need_scale = ctx.needs_input_grad[:3]
        gradient, groups = gradients[0], ctx.groups
        repeats = gradient if groups == 1 else torch.cat([gradient] * groups, dim=1)
        weight = scale[:, None].expand(-1, y.shape[1] // groups).reshape(-1)
        # One group leaves a view of stride 0, with which batch norm is three times slower.
        grad_y, grad_weight, _ = torch.ops.aten.native_batch_norm_backward(
            *(repeats, y, weight.contiguous(), None, None, mean, inverse),
            *(True, ctx.eps, [need_y, need_scale, False]),
        )
        grad_scale = grad_weight.view(groups, -1).sum(1) if need_scale else None
        return gradient if need_total else None, grad_y, grad_scale, None, None
