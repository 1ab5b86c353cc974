"""Depthwise convolution, pointwise convolution and batch norm: what the operations are made of.

The same stage in three ways, chosen by ``darts.kernels.choice``, and the plain one compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.kernels.choice import Choice
from darts.kernels.composed import composed_conv2d
from darts.kernels.depthwise import depthwise_conv2d, plain_depthwise
from darts.kernels.norm import Normalised, normalise
from darts.kernels.pointwise import pointwise_norm


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
    choice: Choice,
    process_group: Any,
) -> Normalised:
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
        choice: the way to compute it.
        process_group: ranks that share the batch, or None.

    Returns:
        Output ``(B, C, H', W')`` of a last stage, else ``(B, groups * C, H', W')``, and statistics
        of each channel of each group.
    """
    if choice.compiled:
        run = _compiled_stage()
        return Normalised(*run(x, depthwise, pointwise, scale, stride, dilation, groups, eps, last))
    if choice.composed:
        y = composed_conv2d(
            x, depthwise, pointwise, stride=stride, dilation=dilation, groups=groups
        )
        return finish(y, scale, groups, eps, last=last, process_group=process_group)
    d = depthwise_conv2d(x, depthwise, stride, dilation)
    if pointwise.shape[1] <= (choice.folded_last if last else choice.folded_hidden):
        return pointwise_norm(
            d, pointwise, scale, groups=groups, eps=eps, rectify=not last, summed=last
        )
    y = F.conv2d(d, pointwise, groups=groups)
    return finish(y, scale, groups, eps, last=last, process_group=process_group)


def finish(
    y: Tensor, scale: Tensor | None, groups: int, eps: float, *, last: bool, process_group: Any
) -> Normalised:
    """Norm, mixing weights, and the sum over groups or ReLU; arguments as in ``stage``."""
    factor = None
    if scale is not None:
        # A weight of stride 0, which expand alone may give, makes batch norm three times slower.
        factor = scale.repeat_interleave(y.shape[1] // groups)
    output, mean, variance = normalise(y, factor, eps, process_group)
    if not last:
        output = F.relu_(output)
    elif groups > 1:
        output = output.unflatten(1, (groups, -1)).sum(1)
    return Normalised(output, mean, variance)


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
) -> tuple[Tensor, Tensor, Tensor]:
    """``stage`` in one process by PyTorch's own calls."""
    d = plain_depthwise(x, depthwise, stride, dilation)
    y = F.conv2d(d, pointwise, groups=groups)
    return tuple(finish(y, scale, groups, eps, last=last, process_group=None))  # type: ignore[return-value]


@cache
def _compiled_stage() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """The plain stage through ``torch.compile``: once for each shape, shared by all cells."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    return torch.compile(plain_stage, dynamic=False)
