"""Depthwise convolutions whose backward pass stays on the fast path of the CPU's library.

oneDNN has fast kernels for the forward pass of every depthwise convolution, but for the gradient of
the weight only up to three taps a row and without dilation; others fall back to code that is five
to twenty times slower. Here each gradient is rewritten, exactly, as what is fast:

* The gradient of the input of a convolution with stride 1 that keeps the size is the convolution of
  the output's gradient with the kernel turned by 180 degrees.
* A convolution with stride 2 and dilation 2 reads every second pixel only: those are picked first
  and convolved plainly.
* For the weight gradient, d neighboring pixels are taken for channels, which costs nothing: taps
  at a distance of d are then neighbors in their row. Down the columns the gradient is that of a
  kernel without dilation, whose superfluous rows are left out afterwards.
* That of a kernel of five taps a row is put together from three columns and the two between them,
  each at a distance of two taps.
* The weight gradient of a kernel of five taps a row and stride 2 falls apart into four of up to
  three taps and stride 1, one for each phase of the input's pixels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.pixels import fold

_NHWC = torch.channels_last


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """``F.conv2d(x, weight, None, stride, dilation * (k // 2), dilation, groups=channels)``.

    Args:
        x: ``(B, C, H, W)``.
        weight: ``(C, 1, k, k)`` with odd k.
        stride: 1 or 2.
        dilation: 1 or more.

    Returns:
        ``(B, C, ceil(H / stride), ceil(W / stride))``.
    """
    if stride == 2 and dilation == 2:
        x = x[:, :, ::2, ::2].contiguous(memory_format=_NHWC)
        stride = dilation = 1
    fast = stride == 1 or (stride == 2 and dilation == 1 and weight.shape[-1] == 5)
    if not fast or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return plain_depthwise(x, weight, stride, dilation)
    return _Depthwise.apply(x, weight, stride, dilation)


def plain_depthwise(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """The same by PyTorch's own call."""
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, None, stride, padding, dilation, groups=x.shape[1])


class _Depthwise(torch.autograd.Function):
    """Stride 1, or 2 with five taps a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        need_x, need_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if need_weight else None, weight if need_x else None)
        ctx.stride, ctx.dilation = stride, dilation
        ctx.shapes = x.shape, weight.shape
        return plain_depthwise(x, weight, stride, dilation)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        (gradient,), stride, dilation = gradients, ctx.stride, ctx.dilation
        need_x, need_weight = ctx.needs_input_grad[:2]
        plain = torch.is_grad_enabled()  # to be differentiated again
        if plain or stride == 2:
            # Of what was not kept, the shape alone is looked at.
            x, weight = (
                torch.empty(shape, dtype=gradient.dtype, memory_format=_NHWC) if t is None else t
                for t, shape in zip((x, weight), ctx.shapes, strict=True)
            )
        if plain:
            both = _plain_backward(gradient, x, weight, stride, dilation, need_x, need_weight)
            return *both, None, None
        gradient = gradient.contiguous(memory_format=_NHWC)
        grad_x = grad_weight = None
        if need_x and stride == 1:
            grad_x = plain_depthwise(gradient, weight.flip((2, 3)), 1, dilation)
        elif need_x:
            grad_x = _plain_backward(gradient, x, weight, stride, dilation, True, False)[0]
        if need_weight and stride == 1:
            grad_weight = weight_gradient(x, gradient, ctx.shapes[1][-1], dilation)
        elif need_weight:
            grad_weight = _strided_weight_gradient(x, gradient)
        return grad_x, grad_weight, None, None


def _plain_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    dilation: int,
    need_x: bool,
    need_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    padding = dilation * (weight.shape[-1] // 2)
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        *(gradient, x, weight, None, [stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0]),
        *(x.shape[1], [need_x, need_weight, False]),
    )
    return grad_x, grad_weight


def _strided_weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Of five taps a row and stride 2, ``(C, 1, 5, 5)``.

    Output i reads pixel 2i + t - 2 with tap t: pixels i - 1 to i + 1 of the even ones with the even
    taps, pixels i - 1 and i of the odd ones with the odd taps.
    """
    height, width = x.shape[-2:]
    result = x.new_empty((x.shape[1], 1, 5, 5))
    for row in (0, 1):
        for column in (0, 1):
            phase = x[..., row::2, column::2]
            missing = (0, column * (width % 2), 0, row * (height % 2))
            phase = F.pad(phase, missing).contiguous(memory_format=_NHWC)
            taps = weight_gradient(phase, gradient, 3, 1)
            result[..., row::2, column::2] = taps[..., : 3 - row, : 3 - column]
    return result


def weight_gradient(x: Tensor, gradient: Tensor, kernel: int, dilation: int) -> Tensor:
    """Gradient of the weight of a depthwise convolution of stride 1 that keeps the size.

    Args:
        x: input, ``(B, C, H, W)``.
        gradient: of the output, ``(B, C, H, W)``.
        kernel: odd number of taps a side.
        dilation: distance of the taps.

    Returns:
        ``(C, 1, kernel, kernel)``.
    """
    rows = dilation * (kernel - 1) + 1
    if kernel > 5 or (kernel == 3 and dilation == 1):
        return _columns(x, gradient, kernel, kernel, dilation)
    folds = dilation if kernel == 3 else 2 * dilation
    # Zeros at the right and the bottom add nothing; the fast path wants as many rows as taps.
    missing = (0, -x.shape[3] % folds, 0, max(0, rows - x.shape[2]))
    if any(missing):
        x, gradient = F.pad(x, missing), F.pad(gradient, missing)
    x, gradient = (t.contiguous(memory_format=_NHWC) for t in (x, gradient))
    folded = fold(gradient, folds)
    taps = _columns(fold(x, folds), folded, rows, 3)
    if kernel == 5:
        # The taps between: of an image moved by half a fold, which has one folded pixel more.
        moved = F.pad(x, (dilation, dilation)).contiguous(memory_format=_NHWC)
        between = _columns(fold(moved, folds), folded, rows, 2)
        taps = torch.cat([taps, between], dim=3)[..., [0, 3, 1, 4, 2]]
    return taps[:, :, ::dilation].unflatten(0, (folds, -1)).sum(0)


def _columns(x: Tensor, gradient: Tensor, rows: int, columns: int, dilation: int = 1) -> Tensor:
    """PyTorch's weight gradient of a kernel of that size, ``(C, 1, rows, columns)``.

    For an even number of columns the image is ``columns - 1`` pixels wider than the gradient.
    """
    channels = x.shape[1]
    padding = [dilation * (rows // 2), dilation * (columns // 2) * (columns % 2)]
    shape = x.new_empty((channels, 1, rows, columns))  # only its shape is looked at
    result: Tensor = torch.ops.aten.convolution_backward(
        *(gradient, x, shape, None, [1, 1], padding, [dilation] * 2, False, [0, 0]),
        *(channels, [False, True, False]),
    )[1]
    return result
