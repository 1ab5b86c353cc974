"""Rearrangements: every second pixel, neighboring pixels as channels, and repeated channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.autograd import Context, SeveralOutputs

_NHWC = torch.channels_last


def split_even_odd(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x[..., ::2, ::2]`` and ``x[..., 1::2, 1::2]``, zero-padded to the same size.

    The backward pass writes both gradients into one tensor. With two slices of ``x`` instead, it
    would allocate a full image for each gradient and add the two images.

    Shape: ``(B, C, H, W)`` -> twice ``(B, C, ceil(H / 2), ceil(W / 2))`` in channels_last layout.
    """
    even, odd = _SplitEvenOdd.apply(x)
    return even, odd


class _SplitEvenOdd(SeveralOutputs):
    @staticmethod
    def forward(ctx: Context, x: Tensor) -> tuple[Tensor, Tensor]:
        height, width = ctx.size = x.shape[-2:]
        odd = F.pad(x[..., 1::2, 1::2], (0, width % 2, 0, height % 2))
        even = x[..., ::2, ::2]
        return even.contiguous(memory_format=_NHWC), odd.contiguous(memory_format=_NHWC)

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> Tensor:
        even, odd = gradients
        height, width = ctx.size
        shape = (even.shape[0], even.shape[1], height, width)
        # In-place writes keep this differentiable for a second backward pass.
        gradient = torch.empty(shape, dtype=even.dtype, device=even.device, memory_format=_NHWC)
        gradient.zero_()
        gradient[..., ::2, ::2] = even
        gradient[..., 1::2, 1::2] = odd[..., : height // 2, : width // 2]
        return gradient


def fold(x: Tensor, folds: int) -> Tensor:
    """Merge neighboring pixels of a row into the channels of one pixel, the leftmost first.

    The result is a view if x is in channels_last layout.

    Shape: ``(B, C, H, W)`` -> ``(B, folds * C, H, W / folds)``; ``folds`` must divide W.
    """
    rows = x.permute(0, 2, 3, 1)
    return rows.reshape(*rows.shape[:2], -1, folds * x.shape[1]).permute(0, 3, 1, 2)


def repeat_per_channel(scale: Tensor, channels: int) -> Tensor:
    """Repeat the weight of each edge for its channels, ``(edges,)`` -> ``(edges * channels,)``."""
    factor = scale[:, None].expand(-1, channels).reshape(-1)
    # For one edge this is a view of stride 0, which makes batch norm three times slower.
    return factor.contiguous()


def repeat_groups(x: Tensor, groups: int, times: int) -> Tensor:
    """Repeat each group of channels, in channels_last layout.

    Shape: ``(B, groups * C, H, W)`` -> ``(B, groups * times * C, H, W)``.
    """
    if times == 1:
        return x
    # (B, H, W, groups, 1, C)
    pixels = torch.unflatten(x.permute(0, 2, 3, 1), 3, (groups, 1, -1))
    repeated: Tensor = pixels.expand(-1, -1, -1, -1, times, -1).flatten(3).permute(0, 3, 1, 2)
    return repeated
