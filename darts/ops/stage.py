"""Depthwise convolution, pointwise convolution and batch norm: what the operations are made of.

The same stage in three ways, chosen by ``darts.ops.dispatch``, and the plain one compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.composed import composed_conv2d
from darts.ops.depthwise import depthwise_conv2d, plain_depthwise
from darts.ops.dispatch import Choice
from darts.ops.mix import sum_groups
from darts.ops.norm import Running, normalize
from darts.ops.pointwise import pointwise_conv2d
from darts.ops.total import Total, can_add


def stage(
    x: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    scale: Tensor | None,
    *,
    stride: int,
    dilation: int,
    groups: int,
    eps: float,
    last: bool,
    running: Running,
    choice: Choice,
    process_group: Any,
    total: Total | None = None,
) -> Tensor | None:
    """``groups`` separable convolutions side by side and their norms, by this batch's statistics.

    Args:
        x: ``(B, groups * C, H, W)``.
        depthwise: ``(groups * C, 1, k, k)``.
        pointwise: ``(groups * C, C, 1, 1)``.
        scale: mixing weight of each group, ``(groups,)``, or None.
        stride: of the depthwise convolution.
        dilation: likewise.
        groups: number of edges.
        eps: of the norm.
        last: whether the stage ends an operation; then the groups are summed, else rectified.
        running: running statistics of all groups, which are moved.
        choice: the way to compute it.
        process_group: ranks that share the batch, or None.
        total: what to add the output of a last stage to, instead of giving it back.

    Returns:
        ``(B, C, H', W')`` for a last stage, None if a total took it; else
        ``(B, groups * C, H', W')``.
    """
    if choice.compiled:
        convolve = _compiled_stage()
        shape = (stride, dilation, groups, eps, last)
        output = convolve(x, depthwise, pointwise, scale, *shape, running)
        if total is None:
            return output
        total.add(output)
        return None
    if choice.composed:
        y = composed_conv2d(
            x, depthwise, pointwise, stride=stride, dilation=dilation, groups=groups
        )
        return finish(y, scale, groups, eps, last, running, process_group, total)
    d = depthwise_conv2d(x, depthwise, stride, dilation)
    y = pointwise_conv2d(d, pointwise, groups)
    del d  # its memory is free for the next operation, unless the backward pass wants it
    return finish(y, scale, groups, eps, last, running, process_group, total)


def finish(
    y: Tensor,
    scale: Tensor | None,
    groups: int,
    eps: float,
    last: bool,
    running: Running,
    process_group: Any = None,
    total: Total | None = None,
) -> Tensor | None:
    """Norm, mixing weights, and the sum over groups or ReLU; arguments as in ``stage``."""
    if total is not None:
        if process_group is None and scale is not None and can_add(y):
            total.add_normalized(y, scale, groups, eps, running)
        else:
            output = normalize(y, per_channel(scale, y), eps, running, process_group)
            total.add(sum_groups(output, groups))
        return None
    output = normalize(y, per_channel(scale, y), eps, running, process_group)
    if not last:
        return F.relu_(output)
    return sum_groups(output, groups)


def per_channel(scale: Tensor | None, y: Tensor) -> Tensor | None:
    """The weight of each group, ``(groups,)``, for each of y's channels, ``(groups * C,)``."""
    if scale is None:
        return None
    factor = scale[:, None].expand(-1, y.shape[1] // len(scale)).reshape(-1)
    # One group leaves a view of stride 0, with which batch norm is three times slower.
    return factor.contiguous()


def plain_stage(
    x: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    scale: Tensor | None,
    stride: int,
    dilation: int,
    groups: int,
    eps: float,
    last: bool,
    running: Running,
) -> Tensor:
    """``stage`` in one process by PyTorch's own calls."""
    d = plain_depthwise(x, depthwise, stride, dilation)
    y = F.conv2d(d, pointwise, groups=groups)
    return cast(Tensor, finish(y, scale, groups, eps, last, running))


@cache
def _compiled_stage() -> Callable[..., Tensor]:
    """The plain stage through ``torch.compile``: once for each shape, shared by all cells."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    return torch.compile(plain_stage, dynamic=False)
