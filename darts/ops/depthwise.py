"""Depthwise convolutions with a fast backward pass on CPUs.

oneDNN has fast kernels for the forward pass of every depthwise convolution. For the gradient of the
weight, it has them only for rows of up to three taps without dilation; the fallback is five to
twenty times slower. This module rewrites each gradient, exactly, in terms of fast kernels:

* Input gradient, stride 1: a convolution of the output gradient with the kernel rotated by 180
  degrees.
* A convolution with stride 2 and dilation 2 reads only every second pixel. These pixels are
  selected first and then convolved with stride 1 and dilation 1.
* Weight gradient, dilation d: d neighboring pixels become channels at no cost, so that taps at
  distance d become neighbors within a row. Vertically, the gradient of a taller kernel without
  dilation is computed, and only every d-th of its rows is used.
* Weight gradient, five taps per row: the gradients of columns 0, 2 and 4 of the kernel and those of
  columns 1 and 3 are computed separately and interleaved.
* Weight gradient, five taps per row and stride 2: it splits into four gradients of up to three taps
  per row and stride 1, one for each combination of even and odd input rows and columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.autograd import Context, OneOutput
from darts.ops.pixels import fold

_NHWC = torch.channels_last


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Compute ``F.conv2d(x, weight, None, stride, dilation * (k // 2), dilation, groups=C)``.

    Shape: ``(B, C, H, W)``, weight ``(C, 1, k, k)`` with odd k, stride 1 or 2 ->
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
    """Compute ``depthwise_conv2d`` with PyTorch's own convolution."""
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, None, stride, padding, dilation, groups=x.shape[1])


class _Depthwise(OneOutput):
    """A depthwise convolution with stride 1, or with stride 2 and five taps per row."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        need_x, need_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if need_weight else None, weight if need_x else None)
        ctx.stride, ctx.dilation = stride, dilation
        ctx.shapes = x.shape, weight.shape
        return plain_depthwise(x, weight, stride, dilation)

    @staticmethod
    def backward(
        ctx: Context, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        (gradient,), stride, dilation = gradients, ctx.stride, ctx.dilation
        need_x, need_weight = ctx.needs_input_grad[:2]
        plain = torch.is_grad_enabled()  # this backward pass will itself be differentiated
        if plain or stride == 2:
            # convolution_backward uses only the shape of a tensor that was not saved.
            x, weight = (
                torch.empty(shape, dtype=gradient.dtype, memory_format=_NHWC) if t is None else t
                for t, shape in zip((x, weight), ctx.shapes, strict=True)
            )
        if plain:
            pair = _plain_backward(gradient, x, weight, stride, dilation, [need_x, need_weight])
            return *pair, None, None
        gradient = gradient.contiguous(memory_format=_NHWC)
        grad_x = grad_weight = None
        if need_x and stride == 1:
            grad_x = plain_depthwise(gradient, weight.flip((2, 3)), 1, dilation)
        elif need_x:
            grad_x = _plain_backward(gradient, x, weight, stride, dilation, [True, False])[0]
        if need_weight and stride == 1:
            grad_weight = weight_gradient(x, gradient, ctx.shapes[1][-1], dilation)
        elif need_weight:
            grad_weight = _strided_weight_gradient(x, gradient)
        return grad_x, grad_weight, None, None


def _plain_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, dilation: int, need: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of x and of the weight, each if ``need`` says so, otherwise None."""
    padding = dilation * (weight.shape[-1] // 2)
    return _convolution_backward(gradient, x, weight, stride, [padding, padding], dilation, need)


def _convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: list[int],
    dilation: int,
    need: list[bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Call PyTorch's backward kernel of a depthwise convolution without bias."""
    strides, dilations, mask = [stride, stride], [dilation, dilation], [*need, False]
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, strides, padding, dilations, False, [0, 0], x.shape[1], mask
    )
    return grad_x, grad_weight


def _strided_weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Return the weight gradient for five taps per row and stride 2, ``(C, 1, 5, 5)``.

    Output i reads pixel 2i + t - 2 with tap t. The even taps read pixels i - 1 to i + 1 of the even
    pixels, and the odd taps read pixels i - 1 and i of the odd pixels.
    """
    height, width = x.shape[-2:]
    result = x.new_empty((x.shape[1], 1, 5, 5))
    for row in (0, 1):
        for column in (0, 1):
            phase = x[..., row::2, column::2]
            padding = (0, column * (width % 2), 0, row * (height % 2))
            phase = F.pad(phase, padding).contiguous(memory_format=_NHWC)
            taps = weight_gradient(phase, gradient, 3, 1)
            result[..., row::2, column::2] = taps[..., : 3 - row, : 3 - column]
    return result


def weight_gradient(x: Tensor, gradient: Tensor, size: int, dilation: int) -> Tensor:
    """Return the weight gradient of a depthwise convolution with stride 1 and "same" padding.

    The input and the gradient of the output are ``(B, C, H, W)``, the result is
    ``(C, 1, size, size)`` with an odd kernel size.
    """
    rows = dilation * (size - 1) + 1  # height of the kernel without dilation
    if size > 5 or (size == 3 and dilation == 1):
        return _rectangular_gradient(x, gradient, size, size, dilation)
    folds = dilation if size == 3 else 2 * dilation
    # Zeros at the right and the bottom add nothing. The fast kernel needs as many rows as taps.
    padding = (0, -x.shape[3] % folds, 0, max(0, rows - x.shape[2]))
    if any(padding):
        x, gradient = F.pad(x, padding), F.pad(gradient, padding)
    x, gradient = (t.contiguous(memory_format=_NHWC) for t in (x, gradient))
    folded = fold(gradient, folds)
    taps = _rectangular_gradient(fold(x, folds), folded, rows, 3)
    if size == 5:
        # Columns 1 and 3 need the image shifted by half a folded pixel. Padding both sides shifts
        # it and makes it one folded pixel wider.
        shifted = F.pad(x, (dilation, dilation)).contiguous(memory_format=_NHWC)
        between = _rectangular_gradient(fold(shifted, folds), folded, rows, 2)
        taps = torch.cat([taps, between], dim=3)[..., [0, 3, 1, 4, 2]]
    return torch.unflatten(taps[:, :, ::dilation], 0, (folds, -1)).sum(0)


def _rectangular_gradient(
    x: Tensor, gradient: Tensor, rows: int, columns: int, dilation: int = 1
) -> Tensor:
    """Return PyTorch's weight gradient for a kernel of a given size, ``(C, 1, rows, columns)``.

    For an even number of columns, the image must be ``columns - 1`` pixels wider than the gradient.
    """
    padding = [dilation * (rows // 2), dilation * (columns // 2) * (columns % 2)]
    weight = x.new_empty((x.shape[1], 1, rows, columns))  # only its shape is used
    _, grad_weight = _convolution_backward(gradient, x, weight, 1, padding, dilation, [False, True])
    assert grad_weight is not None
    return grad_weight
