"""Depthwise convolutions with a fast backward pass on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor

from darts.ops.grouped_conv import fast_depthwise_conv2d, grouped_conv2d

_NHWC = torch.channels_last


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Compute ``F.conv2d(x, weight, None, stride, dilation * (k // 2), dilation, groups=C)``.

    A convolution with stride 2 and dilation 2 reads only every second pixel. These pixels are
    selected first and then convolved with stride 1 and dilation 1.

    Shape: ``(B, C, H, W)``, weight ``(C, 1, k, k)`` with odd k, stride 1 or 2 ->
    ``(B, C, ceil(H / stride), ceil(W / stride))``.
    """
    if stride == 2 and dilation == 2:
        x = x[:, :, ::2, ::2].contiguous(memory_format=_NHWC)
        stride = dilation = 1
    fast = stride == 1 or (stride == 2 and dilation == 1 and weight.shape[-1] == 5)
    if fast and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return fast_depthwise_conv2d(x, weight, stride, dilation)
    padding = dilation * (weight.shape[-1] // 2)
    return grouped_conv2d(x, weight, stride, padding, dilation, groups=x.shape[1])
