"""Weighted sums of feature maps in one pass a term."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_NHWC = torch.channels_last


def weighted_sum(terms: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """``sum(weight * term)`` without storing a product.

    Args:
        terms: each ``(B, C, H, W)``; at least one.
        weights: as many scalars, each ``()``.
    """
    return _WeightedSum.apply(len(terms), *terms, *weights)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *inputs: Tensor) -> Tensor:
        terms, weights = inputs[:count], inputs[count:]
        ctx.save_for_backward(*inputs)
        total = terms[0] * weights[0]
        for term, weight in zip(terms[1:], weights[1:], strict=True):
            total.addcmul_(term, weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs = ctx.saved_tensors  # may be read once only under checkpointing
        count = len(inputs) // 2
        terms, weights = inputs[:count], inputs[count:]
        need = ctx.needs_input_grad[1:]
        by_term = [gradient * w if n else None for w, n in zip(weights, need, strict=False)]
        by_weight = [
            _inner(gradient, term).to(weight.dtype) if n else None
            for term, weight, n in zip(terms, weights, need[count:], strict=True)
        ]
        return None, *by_term, *by_weight


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Sum of all products, in one pass where the layout allows."""
    if a.device.type != "cpu" or a.dtype not in (torch.float32, torch.float64):
        return (a.float() * b.float()).sum() if a.dtype.itemsize < 4 else (a * b).sum()
    return torch.dot(_flat(a), _flat(b))


def _flat(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1)  # no copy for channels_last


def sum_groups(x: Tensor, groups: int) -> Tensor:
    """``x.unflatten(1, (groups, -1)).sum(1)``, whose gradient comes back without gaps.

    Args:
        x: ``(B, groups * C, H, W)``.
        groups: number of groups.

    Returns:
        ``(B, C, H, W)``.
    """
    return x if groups == 1 else _SumGroups.apply(x, groups)


class _SumGroups(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int) -> Tensor:
        ctx.groups = groups
        first, *others = x.chunk(groups, dim=1)
        total = first.clone(memory_format=_NHWC)
        for other in others:
            total.add_(other)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.cat(gradients * ctx.groups, dim=1), None


def dense_gradient(x: Tensor) -> Tensor:
    """``x`` itself; the gradient that comes back for it is made channels_last contiguous.

    The gradient of a concatenation is a view with gaps, and each of the many operations that it
    goes to would copy it.
    """
    return _DenseGradient.apply(x)


class _DenseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous(memory_format=_NHWC)
