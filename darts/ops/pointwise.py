"""Pointwise convolution that keeps its input only if the weight needs a gradient.

PyTorch keeps the input of every convolution. The gradient of the alphas needs no weight gradients,
so the input can be freed and its memory, which is still in the cache, serves the next operation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.autograd import Context, OneOutput


def pointwise_conv2d(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """Compute ``F.conv2d(x, weight, groups=groups)``.

    Shape: ``(B, groups * C, H, W)``, weight ``(groups * D, C, 1, 1)`` -> ``(B, groups * D, H, W)``.
    """
    if weight.requires_grad or torch.is_autocast_enabled(x.device.type):
        return F.conv2d(x, weight, groups=groups)
    return _ConstantWeight.apply(x, weight, groups)


class _ConstantWeight(OneOutput):
    """A pointwise convolution with a gradient for its input only."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.groups = groups
        return F.conv2d(x, weight, groups=groups)

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        # (groups * D, C, 1, 1) -> (groups * C, D, 1, 1)
        transposed = torch.unflatten(weight, 0, (ctx.groups, -1)).transpose(1, 2).flatten(0, 1)
        transposed = transposed.contiguous(memory_format=torch.channels_last)
        return F.conv2d(gradients[0], transposed, groups=ctx.groups), None, None
