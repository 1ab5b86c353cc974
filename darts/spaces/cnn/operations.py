"""Operations of the cell-based CNN space.

An operation keeps the number of channels and has stride 1 or 2. With stride 2 it maps
``(B, C, H, W)`` to ``(B, C, ceil(H/2), ceil(W/2))`` for even and odd sides, so the operations into
a node have equal shapes for images of any size.

References:
    DARTS, arXiv:1806.09055, section 3.1 and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.grouped_conv import depthwise_conv2d
from darts.ops.pixels import split_even_odd
from darts.ops.pointwise import PointwiseConv2d
from darts.spaces.genotype import Genotype
from darts.spaces.genotype_text import check_name


class FactorizedReduce(nn.Module):
    """Halve height and width by two pointwise convolutions, one on even and one on odd pixels.

    After ReLU, each convolution reads every second pixel, the second one from an image shifted by
    one pixel; their outputs are concatenated and normalized. The shifted image is padded with zeros
    on the right and bottom if a side is odd. If ``outputs`` is odd, the first convolution has one
    channel less than the second.

    Attributes:
        rectifies: Whether the module applies the ReLU; False for a state after ReLU.

    Shape: ``(B, inputs, H, W) -> (B, outputs, ceil(H/2), ceil(W/2))``.
    """

    rectifies: bool = True

    def __init__(self, inputs: int, outputs: int, *, affine: bool = True) -> None:
        super().__init__()
        if outputs < 2:
            raise ValueError(f"FactorizedReduce needs at least 2 output channels, got {outputs}")
        self.even = PointwiseConv2d(inputs, outputs // 2, stride=2)
        self.odd = PointwiseConv2d(inputs, outputs - outputs // 2, stride=2)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        even, odd = split_even_odd(F.relu(x) if self.rectifies else x)
        halves = [F.conv2d(even, self.even.weight), F.conv2d(odd, self.odd.weight)]
        output: Tensor = self.norm(torch.cat(halves, dim=1))
        return output


def bypass_channels(state: Tensor, width: int, stride: int) -> Tensor:
    """Return the channels from ``width`` up, max-pooled to the size of an operation's output.

    Shape: ``(B, C, H, W) -> (B, C - width, ceil(H / stride), ceil(W / stride))``.
    """
    others = state[:, width:]
    return others if stride == 1 else F.max_pool2d(others, stride, stride, ceil_mode=True)


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Interleave groups of channels: channel ``i`` of each group, then channel ``i + 1``."""
    if groups == 1:
        return x
    # (B, groups, C / groups, H, W) -> (B, C / groups, groups, H, W)
    return torch.unflatten(x, 1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class Zero(nn.Module):
    """The operation ``none``: zeros."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[..., :: self.stride, :: self.stride])


class Noise(nn.Module):
    """Standard normal draws (Zela et al., arXiv:1909.09656, section 3.1: the set S4)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn_like(x[..., :: self.stride, :: self.stride])


def relu_conv_norm(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, affine: bool = True
) -> nn.Sequential:
    """Return ReLU, convolution and batch norm.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, affine=affine),
    )


def _separable(
    channels: int, stride: int, affine: bool, *, kernel: int, dilation: int = 1, count: int = 2
) -> nn.Module:
    """Return depthwise-separable convolutions; the first has the stride."""
    layers: list[nn.Module] = []
    for own_stride in (stride, 1)[:count]:
        padding = dilation * (kernel // 2)
        depthwise = nn.Conv2d(
            channels, channels, kernel, own_stride, padding, dilation, groups=channels, bias=False
        )
        pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        layers += [nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(channels, affine=affine)]
    return nn.Sequential(*layers)


def _conv_7x1_1x7(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), stride=(1, stride), padding=(0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), stride=(stride, 1), padding=(3, 0), bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


# Builds an operation from its channels, stride and whether batch norms are affine.
Factory: TypeAlias = Callable[[int, int, bool], nn.Module]

FACTORIES: dict[str, Factory] = {
    "none": lambda channels, stride, affine: Zero(stride),
    "max_pool_3x3": lambda channels, stride, affine: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda channels, stride, affine: nn.AvgPool2d(
        3, stride, padding=1, count_include_pad=False
    ),
    "skip_connect": lambda channels, stride, affine: (
        nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)
    ),
    "sep_conv_3x3": partial(_separable, kernel=3),
    "sep_conv_5x5": partial(_separable, kernel=5),
    "dil_conv_3x3": partial(_separable, kernel=3, dilation=2, count=1),
    "dil_conv_5x5": partial(_separable, kernel=5, dilation=2, count=1),
    "sep_conv_7x7": partial(_separable, kernel=7),
    "conv_7x1_1x7": _conv_7x1_1x7,
    "noise": lambda channels, stride, affine: Noise(stride),
}


def register_operation(name: str, factory: Factory) -> None:
    """Add an operation, which keeps the number of channels, to genotypes and candidates.

    Modules that call this are plug-ins of the group ``darts.spaces``, see ``darts.plugins``.
    """
    if name in FACTORIES:
        raise ValueError(f"the operation {name!r} exists already; choose another name")
    FACTORIES[name] = factory
    Genotype.vocabulary = (*Genotype.vocabulary, name)


def make_operation(
    name: str, channels: int, stride: int, *, affine: bool = True, normalize_pool: bool = False
) -> nn.Module:
    """Build an operation.

    In a supernet, batch norms have no scale and shift (``affine``), because they would undo the
    mixing weights, and a batch norm follows a pooling (``normalize_pool``), so that all candidates
    of an edge have the same scale.
    """
    check_name("unknown operation", name, FACTORIES)
    operation = FACTORIES[name](channels, stride, affine)
    if normalize_pool and "pool" in name:
        return nn.Sequential(operation, nn.BatchNorm2d(channels, affine=False))
    return operation


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with one square kernel per channel and a padding that keeps the size.

    Shape: ``(B, C, H, W)`` -> ``(B, C, ceil(H / stride), ceil(W / stride))``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return depthwise_conv2d(input, self.weight, self.stride[0], self.dilation[0])


def remove_leading_relu(operation: nn.Module) -> bool:
    """Remove the ReLU at the start of an operation, in place; return whether there was one.

    Several operations read the same state, which the caller then rectifies only once. Depthwise
    convolutions switch to the kernels of ``darts.ops.grouped_conv``. Weights and their names do not
    change.
    """
    had_relu = isinstance(operation, FactorizedReduce)
    if isinstance(operation, nn.Sequential) and isinstance(operation[0], nn.ReLU):
        operation[0], had_relu = nn.Identity(), True
    for module in operation.modules():
        if isinstance(module, FactorizedReduce):
            module.rectifies = False
        elif type(module) is nn.Conv2d and module.groups == module.in_channels > 1:
            # A change of the class keeps the weights, their names and the random state.
            height, width = module.kernel_size
            module.__class__ = DepthwiseConv2d if height == width else nn.Conv2d
    return had_relu
