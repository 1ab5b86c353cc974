"""Weight gradients of depthwise convolutions in terms of kernels that are fast on CPUs.

oneDNN has fast kernels for the forward pass of every depthwise convolution. For the gradient of the
weight, it has them only for rows of up to three taps without dilation; the fallback is five to
twenty times slower. This module rewrites this gradient, exactly, in terms of fast kernels:

* Dilation d: d neighboring pixels become channels at no cost, so that taps at distance d become
  neighbors within a row. Vertically, the gradient of a taller kernel without dilation is computed,
  and only every d-th of its rows is used.
* Five taps per row: the gradients of columns 0, 2 and 4 of the kernel and of columns 1 and 3 are
  computed separately and interleaved.
* Five taps per row and stride 2: the gradient splits into four gradients of up to three taps per
  row and stride 1, one for each combination of even and odd input rows and columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.pixels import fold


def convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: list[int],
    dilation: int,
    groups: int,
    need: list[bool],
) -> tuple[Tensor, Tensor]:
    """Return the gradients of input and weight of a convolution without bias, by PyTorch's kernel.

    ``padding`` is of height and width. Only gradients that ``need`` asks for are tensors.
    """
    strides, dilations, mask = [stride, stride], [dilation, dilation], [*need, False]
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, strides, padding, dilations, False, [0, 0], groups, mask
    )
    return grad_x, grad_weight


def strided_weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
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
            phase = F.pad(phase, padding).contiguous(memory_format=torch.channels_last)
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
    x, gradient = (t.contiguous(memory_format=torch.channels_last) for t in (x, gradient))
    folded = fold(gradient, folds)
    taps = _rectangular_gradient(fold(x, folds), folded, rows, 3)
    if size == 5:
        # Columns 1 and 3 need the image shifted by half a folded pixel. Padding both sides shifts
        # it and makes it one folded pixel wider.
        shifted = F.pad(x, (dilation, dilation)).contiguous(memory_format=torch.channels_last)
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
    channels = x.shape[1]
    need = [False, True]
    return convolution_backward(gradient, x, weight, 1, padding, dilation, channels, need)[1]
