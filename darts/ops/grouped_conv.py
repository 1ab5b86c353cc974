"""Grouped and depthwise convolutions, and average pooling as one of them.

PyTorch computes the second derivatives of a grouped convolution one group at a time, which for
depthwise convolutions means hundreds of kernels. Here they need no loop over the groups. A
convolution, the gradient of its input and the gradient of its weight are bilinear functions, and
the derivatives of each are the other two:

* ``y = conv(x, w)``, with gradients ``input(g, w)`` and ``weight(x, g)``;
* ``input(g, w)``, with gradients ``conv(h, w)`` for ``g`` and ``weight(h, g)`` for ``w``;
* ``weight(x, g)``, with gradients ``input(g, v)`` for ``x`` and ``conv(x, v)`` for ``g``.

Each is one call of PyTorch, so derivatives of any order are a few calls.

oneDNN has fast kernels for the forward pass of every depthwise convolution. For the gradient of the
weight, it has them only for rows of up to three taps without dilation; the fallback is five to
twenty times slower. Here this gradient is rewritten, exactly, in terms of fast kernels:

* Dilation d: d neighboring pixels become channels at no cost, so that taps at distance d become
  neighbors within a row. Vertically, the gradient of a taller kernel without dilation is computed,
  and only every d-th of its rows is used.
* Five taps per row: the gradients of columns 0, 2 and 4 of the kernel and of columns 1 and 3 are
  computed separately and interleaved.
* Five taps per row and stride 2: the gradient splits into four gradients of up to three taps per
  row and stride 1, one for each combination of even and odd input rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.autograd import Context, OneOutput
from darts.ops.dispatch import autocasts
from darts.ops.pixels import fold

_NHWC = torch.channels_last


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
    padding = (dilation * (rows // 2), dilation * (columns // 2) * (columns % 2))
    weight = x.new_empty((x.shape[1], 1, rows, columns))  # only its shape is used
    geometry = Geometry(1, padding, dilation, x.shape[1], x.shape, weight.shape)
    return geometry.backward(gradient, x, weight, [False, True])[1]


_twice: ContextVar[bool] = ContextVar("twice", default=False)


@contextmanager
def differentiable_twice() -> Iterator[None]:
    """Prepare the convolutions in forward passes inside for fast second derivatives."""
    token = _twice.set(True)
    try:
        yield
    finally:
        _twice.reset(token)


def is_differentiable_twice() -> bool:
    """Return whether this is inside ``differentiable_twice``."""
    return _twice.get()


@dataclass(frozen=True)
class Geometry:
    """How a convolution reads its input, as in ``F.conv2d``."""

    stride: int
    padding: tuple[int, int]  # of height and width
    dilation: int
    groups: int
    x: torch.Size  # shape of the input
    w: torch.Size  # shape of the weight
    fast: bool = False  # whether the gradient of the weight uses kernels for CPUs

    def evaluate(self, function: str, a: Tensor, b: Tensor) -> Tensor:
        """Return one of the three functions; the name is a key of ``DERIVATIVES``."""
        if function == "conv":
            return F.conv2d(a, b, None, self.stride, self.padding, self.dilation, self.groups)
        return self._input(a, b) if function == "input" else self._weight(a, b)

    def _input(self, g: Tensor, w: Tensor) -> Tensor:
        if self.fast and self.stride == 1:
            # A convolution with "same" padding and the kernel rotated by 180 degrees.
            return self.evaluate("conv", g.contiguous(memory_format=_NHWC), w.flip((2, 3)))
        # Only the shape of the input is used.
        x = torch.empty(self.x, dtype=g.dtype, device=g.device, memory_format=_NHWC)
        return self.backward(g, x, w, [True, False])[0]

    def _weight(self, x: Tensor, g: Tensor) -> Tensor:
        if self.fast:
            g = g.contiguous(memory_format=_NHWC)
            if self.stride == 2:
                return strided_weight_gradient(x, g)
            return weight_gradient(x, g, self.w[-1], self.dilation)
        # Only the shape of the weight is used.
        w = torch.empty(self.w, dtype=g.dtype, device=g.device, memory_format=_NHWC)
        return self.backward(g, x, w, [False, True])[1]

    def backward(self, g: Tensor, x: Tensor, w: Tensor, need: list[bool]) -> tuple[Tensor, Tensor]:
        """Return the gradients of input and weight by PyTorch's kernel, the ones that are needed.

        The others are not tensors.
        """
        stride, dilation, mask = [self.stride] * 2, [self.dilation] * 2, [*need, False]
        grad_x, grad_w, _ = torch.ops.aten.convolution_backward(
            g, x, w, None, stride, self.padding, dilation, False, [0, 0], self.groups, mask
        )
        return grad_x, grad_w


# The derivatives of each function of a and b with respect to a and to b, for the gradient g of its
# result: a function and its arguments.
DERIVATIVES = {
    "conv": (("input", "g", "b"), ("weight", "a", "g")),  # conv(x, w)
    "input": (("conv", "g", "b"), ("weight", "g", "a")),  # input(g, w)
    "weight": (("input", "b", "g"), ("conv", "a", "g")),  # weight(x, g)
}


def grouped_conv2d(
    x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Tensor:
    """Compute ``F.conv2d(x, weight, None, stride, padding, dilation, groups)``.

    Inside ``differentiable_twice``, the second derivatives need no loop over the groups.
    """
    if groups == 1 or not _twice.get() or autocasts(x.device.type):
        return F.conv2d(x, weight, None, stride, padding, dilation, groups)
    geometry = Geometry(stride, (padding, padding), dilation, groups, x.shape, weight.shape)
    return _Bilinear.apply(x, weight, "conv", geometry)


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
    padding, groups = dilation * (weight.shape[-1] // 2), x.shape[1]
    fast = stride == 1 or (stride == 2 and dilation == 1 and weight.shape[-1] == 5)
    if fast and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        sides = padding, padding
        geometry = Geometry(stride, sides, dilation, groups, x.shape, weight.shape, fast=True)
        return _Bilinear.apply(x, weight, "conv", geometry)
    return grouped_conv2d(x, weight, stride, padding, dilation, groups)


def avg_pool3x3(x: Tensor) -> Tensor:
    """Compute ``F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)``.

    On a CPU, PyTorch pools pixel by pixel. A depthwise convolution of oneDNN with a kernel of ones
    takes between a quarter and two thirds of that time on large feature maps. It shortens a step of
    a NAS-Bench-201 search with 8 channels and 32x32 pixels by 8 %.

    Shape: ``(B, C, H, W)`` -> the same.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    with torch.autocast("cpu", enabled=False):
        ones = x.new_ones(x.shape[1], 1, 3, 3)
        counts = F.conv2d(torch.ones_like(x[:1, :1]), ones[:1], padding=1)  # pixels of each window
        return depthwise_conv2d(x, ones).mul_(1 / counts)


class _Bilinear(OneOutput):
    """One of the three bilinear functions. A tensor that no wanted gradient needs is not kept."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor, function: str, geometry: Geometry) -> Tensor:
        need_a, need_b = ctx.needs_input_grad[:2]
        ctx.save_for_backward(a if need_b else None, b if need_a else None)
        ctx.function, ctx.geometry = function, geometry
        return geometry.evaluate(function, a, b)

    @staticmethod
    def backward(
        ctx: Context, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        arguments = dict(zip("abg", (*ctx.saved_tensors, *gradients), strict=True))
        by_a, by_b = (
            _Bilinear.apply(arguments[first], arguments[second], function, ctx.geometry)
            if needed
            else None
            for needed, (function, first, second) in zip(
                ctx.needs_input_grad[:2], DERIVATIVES[ctx.function], strict=True
            )
        )
        return by_a, by_b, None, None
