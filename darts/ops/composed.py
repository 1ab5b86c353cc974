"""A depthwise and a pointwise convolution, with nothing between them, as one dense convolution.

Its kernel is the product of the two. That is more arithmetic and far less memory traffic, which is
what tensor cores want.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def composed_conv2d(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, *, stride: int, dilation: int, groups: int
) -> Tensor:
    """``conv2d(depthwise_conv2d(x, depthwise, stride, dilation), pointwise, groups=groups)``.

    Args:
        x: ``(B, groups * C, H, W)``.
        depthwise: ``(groups * C, 1, k, k)`` with odd k.
        pointwise: ``(groups * D, C, 1, 1)``.
        stride: 1 or 2.
        dilation: distance of the taps.
        groups: number of convolutions side by side.

    Returns:
        ``(B, groups * D, ceil(H / stride), ceil(W / stride))``.
    """
    side = depthwise.shape[-1]
    taps = depthwise.view(groups, 1, -1, side, side)  # (k, 1, C, side, side)
    mixing = pointwise.view(groups, -1, pointwise.shape[1], 1, 1)  # (k, D, C, 1, 1)
    kernel = (mixing * taps).flatten(0, 1)  # (k * D, C, side, side)
    return F.conv2d(x, kernel, None, stride, dilation * (side // 2), dilation, groups)
