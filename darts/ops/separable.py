"""Depthwise followed by pointwise convolution: the building block of operations.

``darts.ops.dispatch`` selects one of two implementations: two convolutions, or one dense
convolution whose kernel is the product of the two kernels. The fused form needs more arithmetic
and far less memory traffic, which suits tensor cores.
"""

from __future__ import annotations

from torch import Tensor

from darts.ops.depthwise import depthwise_conv2d
from darts.ops.dispatch import KernelPlan
from darts.ops.grouped_conv import grouped_conv2d
from darts.ops.pointwise import pointwise_conv2d


def separable_conv(
    x: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    *,
    stride: int,
    dilation: int,
    groups: int,
    plan: KernelPlan,
) -> Tensor:
    """Compute ``groups`` independent separable convolutions.

    Args:
        x: ``(B, groups * C, H, W)``.
        depthwise: ``(groups * C, 1, k, k)``.
        pointwise: ``(groups * D, C, 1, 1)``.
        stride, dilation: Stride and dilation of the depthwise convolution.
        groups: Number of edges, each with its own convolutions.
        plan: Implementation to use. If it is fused, neighboring groups may share their input, see
            ``fused_separable_conv2d``.

    Returns:
        ``(B, groups * D, ceil(H / stride), ceil(W / stride))``.
    """
    if plan.fused:
        return fused_separable_conv2d(
            x, depthwise, pointwise, stride=stride, dilation=dilation, groups=groups
        )
    d = depthwise_conv2d(x, depthwise, stride, dilation)
    return pointwise_conv2d(d, pointwise, groups)


def fused_separable_conv2d(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, *, stride: int, dilation: int, groups: int
) -> Tensor:
    """Compute ``pointwise_conv2d(depthwise_conv2d(x, ...), ...)`` with one convolution.

    Neighboring groups may share their input: then ``x`` has C channels for each set of groups, all
    of the same size.

    Shape: ``(B, inputs * C, H, W)``, where ``inputs`` divides ``groups``, depthwise
    ``(groups * C, 1, k, k)`` with odd k, pointwise ``(groups * D, C, 1, 1)`` ->
    ``(B, groups * D, ceil(H / stride), ceil(W / stride))``.
    """
    side = depthwise.shape[-1]
    taps = depthwise.view(groups, 1, -1, side, side)  # (groups, 1, C, k, k)
    mixing = pointwise.view(groups, -1, pointwise.shape[1], 1, 1)  # (groups, D, C, 1, 1)
    kernel = (mixing * taps).flatten(0, 1)  # (groups * D, C, k, k)
    inputs = x.shape[1] // pointwise.shape[1]
    return grouped_conv2d(x, kernel, stride, dilation * (side // 2), dilation, inputs)
