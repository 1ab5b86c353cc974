"""Pointwise convolutions, and depthwise followed by pointwise ones.

PyTorch keeps the input of every convolution. The gradient of the alphas needs no weight gradients,
so the input of a pointwise convolution can be freed and its memory, which is still in the cache,
serves the next operation.

``darts.ops.dispatch`` selects one of two implementations of a separable convolution: two
convolutions, or one dense convolution whose kernel is the product of the two kernels. The fused
form needs more arithmetic and far less memory traffic, which suits tensor cores.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.autograd import Context, OneOutput
from darts.ops.dispatch import KernelPlan
from darts.ops.grouped_conv import depthwise_conv2d, grouped_conv2d


def pointwise_conv2d(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """Compute ``F.conv2d(x, weight, groups=groups)``.

    Shape: ``(B, groups * C, H, W)``, weight ``(groups * D, C, 1, 1)`` -> ``(B, groups * D, H, W)``.
    """
    on_cpu = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if weight.requires_grad or not on_cpu:
        return grouped_conv2d(x, weight, groups=groups)
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


class PointwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with a 1x1 kernel, which first drops the pixels that its stride skips.

    PyTorch would drop them itself. On processors with AVX2 but without AVX-512, however, its kernel
    for the weight gradient then writes out of bounds and corrupts the process (oneDNN in PyTorch
    2.13, channels_last, few channels).

    Shape: ``(B, C, H, W)`` -> ``(B, D, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        height, width = self.stride
        return F.conv2d(input[..., ::height, ::width], self.weight, groups=self.groups)


def separable_conv(
    x: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    stride: int,
    dilation: int,
    groups: int,
    plan: KernelPlan,
) -> Tensor:
    """Compute ``groups`` independent separable convolutions.

    Stride and dilation belong to the depthwise convolutions. If the plan is fused, neighboring
    groups may share their input: then ``x`` has C channels for each set of groups, all of the same
    size, ``(B, inputs * C, H, W)``, where ``inputs`` divides ``groups``.

    Shape: ``(B, groups * C, H, W)``, depthwise ``(groups * C, 1, k, k)`` with odd k, pointwise
    ``(groups * D, C, 1, 1)`` -> ``(B, groups * D, ceil(H / stride), ceil(W / stride))``.
    """
    if not plan.fused:
        d = depthwise_conv2d(x, depthwise, stride, dilation)
        return pointwise_conv2d(d, pointwise, groups)
    side = depthwise.shape[-1]
    taps = depthwise.view(groups, 1, -1, side, side)  # (groups, 1, C, k, k)
    mixing = pointwise.view(groups, -1, pointwise.shape[1], 1, 1)  # (groups, D, C, 1, 1)
    kernel = (mixing * taps).flatten(0, 1)  # (groups * D, C, k, k)
    inputs = x.shape[1] // pointwise.shape[1]
    return grouped_conv2d(x, kernel, stride, dilation * (side // 2), dilation, inputs)
