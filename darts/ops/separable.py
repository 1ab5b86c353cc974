"""Depthwise convolution, pointwise convolution and batch norm: the building block of operations.

``darts.ops.dispatch`` selects one of three implementations: two convolutions, one fused
convolution, or the plain PyTorch calls compiled with ``torch.compile``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.accumulator import SumAccumulator, can_add_normalized
from darts.ops.batch_norm import RunningStats, normalize
from darts.ops.depthwise import depthwise_conv2d, plain_depthwise
from darts.ops.dispatch import KernelPlan
from darts.ops.fused_conv import fused_separable_conv2d
from darts.ops.pointwise import pointwise_conv2d
from darts.ops.sums import sum_groups

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def separable_conv(
    x: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    scale: Tensor | None,
    *,
    stride: int,
    dilation: int,
    groups: int,
    eps: float,
    ends_operation: bool,
    running: RunningStats,
    plan: KernelPlan,
    process_group: ProcessGroup | None,
    accumulator: SumAccumulator | None = None,
) -> Tensor | None:
    """Compute ``groups`` independent separable convolutions, each followed by batch norm.

    Batch norm uses the statistics of this batch.

    Args:
        x: ``(B, groups * C, H, W)``.
        depthwise: ``(groups * C, 1, k, k)``.
        pointwise: ``(groups * C, C, 1, 1)``.
        scale: Mixing weight of each edge, ``(groups,)``, or None for ones.
        stride, dilation: Stride and dilation of the depthwise convolution.
        groups: Number of edges, each with its own convolutions.
        eps: Added to the variance by batch norm.
        ends_operation: Whether this is the last convolution of an operation. If so, the edges are
            summed; otherwise a ReLU follows.
        running: Running statistics of all edges; updated.
        plan: Implementation to use.
        process_group: Ranks that share the batch, or None.
        accumulator: Takes the sum of the edges, which is then not returned.

    Returns:
        ``(B, C, H', W')`` at the end of an operation, or None with an accumulator; otherwise
        ``(B, groups * C, H', W')``.
    """
    if plan.compiled:
        output = _compiled_separable_conv()(
            x, depthwise, pointwise, scale, stride, dilation, groups, eps, ends_operation, running
        )
        if accumulator is None:
            return output
        accumulator.add(output)
        return None
    if plan.fused:
        y = fused_separable_conv2d(
            x, depthwise, pointwise, stride=stride, dilation=dilation, groups=groups
        )
    else:
        d = depthwise_conv2d(x, depthwise, stride, dilation)
        y = pointwise_conv2d(d, pointwise, groups)
        del d  # frees its memory for the next operation unless the backward pass needs it
    return normalize_and_reduce(
        y, scale, groups, eps, ends_operation, running, process_group, accumulator
    )


def normalize_and_reduce(
    y: Tensor,
    scale: Tensor | None,
    groups: int,
    eps: float,
    ends_operation: bool,
    running: RunningStats,
    process_group: ProcessGroup | None = None,
    accumulator: SumAccumulator | None = None,
) -> Tensor | None:
    """Apply batch norm and mixing weights, then sum the edges or apply ReLU.

    The arguments are those of ``separable_conv``.
    """
    single = process_group is None
    if accumulator is not None and single and scale is not None and can_add_normalized(y):
        accumulator.add_normalized(y, scale, groups, eps, running)
        return None
    output = normalize(y, repeat_per_channel(scale, y), eps, running, process_group)
    if accumulator is None:
        return sum_groups(output, groups) if ends_operation else F.relu_(output)
    accumulator.add(sum_groups(output, groups))
    return None


def repeat_per_channel(scale: Tensor | None, y: Tensor) -> Tensor | None:
    """Repeat the weight of each edge for its channels, ``(groups,)`` -> ``(groups * C,)``."""
    if scale is None:
        return None
    factor = scale[:, None].expand(-1, y.shape[1] // len(scale)).reshape(-1)
    # For one group this is a view of stride 0, which makes batch norm three times slower.
    return factor.contiguous()


def plain_separable_conv(
    x: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    scale: Tensor | None,
    stride: int,
    dilation: int,
    groups: int,
    eps: float,
    ends_operation: bool,
    running: RunningStats,
) -> Tensor:
    """Compute ``separable_conv`` in one process with PyTorch's own convolutions."""
    d = plain_depthwise(x, depthwise, stride, dilation)
    y = F.conv2d(d, pointwise, groups=groups)
    return cast(Tensor, normalize_and_reduce(y, scale, groups, eps, ends_operation, running))


@cache
def _compiled_separable_conv() -> Callable[..., Tensor]:
    """Return the compiled ``plain_separable_conv``; all cells share one compilation per shape."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    return torch.compile(plain_separable_conv, dynamic=False)
