"""Grouped and depthwise convolutions, and average pooling as one of them.

A depthwise convolution has a fast backward pass on CPUs, see ``darts.ops.depthwise_gradients``.

PyTorch computes the second derivatives of a grouped convolution one group at a time, which for
depthwise convolutions means hundreds of kernels. Here they need no loop over the groups. A
convolution, the gradient of its input and the gradient of its weight are bilinear functions, and
the derivatives of each are the other two:

* ``y = conv(x, w)``, with gradients ``input(g, w)`` and ``weight(x, g)``;
* ``input(g, w)``, with gradients ``conv(h, w)`` for ``g`` and ``weight(h, g)`` for ``w``;
* ``weight(x, g)``, with gradients ``input(g, v)`` for ``x`` and ``conv(x, v)`` for ``g``.

Each is one call of PyTorch, so derivatives of any order are a few calls.
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
from darts.ops.depthwise_gradients import (
    convolution_backward,
    strided_weight_gradient,
    weight_gradient,
)
from darts.ops.dispatch import autocasts

_NHWC = torch.channels_last

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
    padding: int
    dilation: int
    groups: int
    x: torch.Size  # shape of the input
    w: torch.Size  # shape of the weight
    fast: bool = False  # whether the gradients use ``darts.ops.depthwise_gradients``

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
        return self._backward(g, x, w, [True, False])[0]

    def _weight(self, x: Tensor, g: Tensor) -> Tensor:
        if self.fast:
            g = g.contiguous(memory_format=_NHWC)
            if self.stride == 2:
                return strided_weight_gradient(x, g)
            return weight_gradient(x, g, self.w[-1], self.dilation)
        # Only the shape of the weight is used.
        w = torch.empty(self.w, dtype=g.dtype, device=g.device, memory_format=_NHWC)
        return self._backward(g, x, w, [False, True])[1]

    def _backward(self, g: Tensor, x: Tensor, w: Tensor, need: list[bool]) -> tuple[Tensor, Tensor]:
        padding = [self.padding, self.padding]
        return convolution_backward(g, x, w, self.stride, padding, self.dilation, self.groups, need)


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
    geometry = Geometry(stride, padding, dilation, groups, x.shape, weight.shape)
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
        geometry = Geometry(stride, padding, dilation, groups, x.shape, weight.shape, fast=True)
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
