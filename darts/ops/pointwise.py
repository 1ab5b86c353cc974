"""Pointwise convolutions that keep their input only where the gradient of the weight will want it.

PyTorch keeps the input of every convolution. The gradient of the alphas alone asks for no weight
gradient: there the memory of the input, which lies in the cache, is free for the next operation.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def pointwise_conv2d(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """``F.conv2d(x, weight, groups=groups)``.

    Args:
        x: ``(B, groups * C, H, W)``.
        weight: ``(groups * D, C, 1, 1)``.
        groups: number of convolutions side by side.

    Returns:
        ``(B, groups * D, H, W)``.
    """
    if weight.requires_grad or torch.is_autocast_enabled(x.device.type):
        return F.conv2d(x, weight, groups=groups)
    return _ForInput.apply(x, weight, groups)


class _ForInput(torch.autograd.Function):
    """The weight is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.groups = groups
        return F.conv2d(x, weight, groups=groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        # (groups * D, C, 1, 1) -> (groups * C, D, 1, 1)
        turned = weight.unflatten(0, (ctx.groups, -1)).transpose(1, 2).flatten(0, 1)
        turned = turned.contiguous(memory_format=torch.channels_last)
        return F.conv2d(gradients[0], turned, groups=ctx.groups), None, None
