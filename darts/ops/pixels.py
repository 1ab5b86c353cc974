"""Pixels of an image regrouped: every second one, and neighbors taken for channels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_NHWC = torch.channels_last


def even_and_odd(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x[..., ::2, ::2]`` and ``x[..., 1::2, 1::2]``, the second padded with zeros to one size.

    Their gradients come back together, where two views would fill an image each and add them up.

    Args:
        x: ``(B, C, H, W)``.

    Returns:
        Twice ``(B, C, ceil(H/2), ceil(W/2))``, channels_last.
    """
    even, odd = _EvenAndOdd.apply(x)
    return even, odd


class _EvenAndOdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        height, width = ctx.size = x.shape[-2:]
        odd = F.pad(x[..., 1::2, 1::2], (0, width % 2, 0, height % 2))
        even = x[..., ::2, ::2]
        return even.contiguous(memory_format=_NHWC), odd.contiguous(memory_format=_NHWC)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        even, odd = gradients
        height, width = ctx.size
        shape = (*even.shape[:2], height, width)
        # Filled in place, which can be differentiated again.
        gradient = torch.empty(shape, dtype=even.dtype, device=even.device, memory_format=_NHWC)
        gradient.zero_()
        gradient[..., ::2, ::2] = even
        gradient[..., 1::2, 1::2] = odd[..., : height // 2, : width // 2]
        return gradient


def fold(x: Tensor, folds: int) -> Tensor:
    """Neighboring pixels of a row as channels of one; a view where x is channels_last.

    Args:
        x: ``(B, C, H, W)``.
        folds: how many pixels to take together, a divisor of W.

    Returns:
        ``(B, folds * C, H, W / folds)``, the channels of the first pixel first.
    """
    rows = x.permute(0, 2, 3, 1)
    return rows.reshape(*rows.shape[:2], -1, folds * x.shape[1]).permute(0, 3, 1, 2)
