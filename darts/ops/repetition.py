"""Repetition of values for the edges that run together."""

from __future__ import annotations

import torch
from torch import Tensor


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
