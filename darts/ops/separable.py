"""Depthwise followed by pointwise convolution: the building block of operations.

``darts.ops.dispatch`` selects one of two implementations: two convolutions, or one fused
convolution.
"""

from __future__ import annotations

from torch import Tensor

from darts.ops.depthwise import depthwise_conv2d
from darts.ops.dispatch import KernelPlan
from darts.ops.fused_conv import fused_separable_conv2d
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
