"""Weighted sums of feature maps, without intermediate tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darts.ops.autograd import Context, OneOutput


def weighted_sum(terms: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Compute ``sum(weight * term)`` without storing the products.

    There is at least one term ``(B, C, H, W)``, and a scalar weight ``()`` per term.
    """
    return _WeightedSum.apply(len(terms), *terms, *weights)


class _WeightedSum(OneOutput):
    @staticmethod
    def forward(ctx: Context, count: int, *inputs: Tensor) -> Tensor:
        terms, weights = inputs[:count], inputs[count:]
        ctx.save_for_backward(*inputs)
        total = terms[0] * weights[0]
        for term, weight in zip(terms[1:], weights[1:], strict=True):
            total.addcmul_(term, weight)
        return total

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inputs = ctx.saved_tensors  # under checkpointing they can be read only once
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
    """Return the inner product of two feature maps, in one pass if dtype and device allow it."""
    if a.device.type != "cpu" or a.dtype not in (torch.float32, torch.float64):
        return (a.float() * b.float()).sum() if a.dtype.itemsize < 4 else (a * b).sum()
    return torch.dot(_flatten(a), _flatten(b))


def _flatten(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1)  # no copy for channels_last


def dense_gradient(x: Tensor) -> Tensor:
    """Return ``x`` and make its gradient contiguous in channels_last layout.

    The gradient of a concatenation is a strided view. Without this function, each operation that
    receives the gradient copies it.
    """
    if not (x.requires_grad and torch.is_grad_enabled()):
        # A view of a single sample gets other strides, which convolutions and poolings do not
        # recognize as channels_last, so they run several times slower.
        return x
    return _DenseGradient.apply(x)


class _DenseGradient(OneOutput):
    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous(memory_format=torch.channels_last)
