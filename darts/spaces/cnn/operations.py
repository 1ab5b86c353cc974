"""The operations of the cell-based CNN space.

Every operation keeps the number of channels, takes stride 1 or 2, and at stride 2 turns
``(B, C, H, W)`` into ``(B, C, ceil(H/2), ceil(W/2))`` whatever the parity of the sides, so that all
operations that meet in a node agree on images of any size.

References:
    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", arXiv:1806.09055,
    section 3.1 and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FactorizedReduce(nn.Module):
    """Halve height and width by two pointwise convolutions, one on even and one on odd pixels.

    ReLU, then each convolution reads every second pixel, the second one from an image moved by one
    pixel; their outputs are concatenated and normalized. Odd sides are padded with zeros on the
    right and bottom for the moved image, which changes nothing on even sides.

    Args:
        inputs: channels in.
        outputs: channels out, at least 2; an odd number gives the first convolution the smaller
            half.
        affine: whether the batch norm has scale and shift.

    Shape: ``(B, inputs, H, W) -> (B, outputs, ceil(H/2), ceil(W/2))``.
    """

    def __init__(self, inputs: int, outputs: int, *, affine: bool = True) -> None:
        super().__init__()
        if outputs < 2:
            raise ValueError(f"FactorizedReduce needs at least 2 output channels, got {outputs}")
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        height, width = x.shape[-2:]
        moved = F.pad(x[..., 1:, 1:], (0, width % 2, 0, height % 2))
        return self.norm(torch.cat([self.even(x), self.odd(moved)], dim=1))


def beside(state: Tensor, width: int, stride: int) -> Tensor:
    """The channels from ``width`` on, at the size of an operation's output."""
    rest = state[:, width:]
    return rest if stride == 1 else F.max_pool2d(rest, stride, stride, ceil_mode=True)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channel ``i`` of each of the groups, side by side, for every ``i``: ``(B, C, H, W)``."""
    if groups == 1:
        return x
    # (B, groups, C / groups, H, W) -> (B, C / groups, groups, H, W)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class Zero(nn.Module):
    """The operation ``none``: no connection, a tensor of zeros."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[..., :: self.stride, :: self.stride])


class Noise(nn.Module):
    """The operation ``noise``: nothing of the input, standard normal draws of its size.

    References:
        Zela et al., arXiv:1909.09656, section 3.1: the harmful candidate of the subset S4.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn_like(x[..., :: self.stride, :: self.stride])


def relu_conv_norm(inputs: int, outputs: int, *, affine: bool = True) -> nn.Sequential:
    """ReLU, pointwise convolution, batch norm: what brings a cell's inputs to its width."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs, affine=affine),
    )


def _depthwise_pointwise(
    channels: int, kernel: int, *, stride: int, dilation: int, affine: bool
) -> list[nn.Module]:
    """ReLU, depthwise convolution that keeps the size at stride 1, pointwise one, batch norm."""
    return [
        nn.ReLU(),
        nn.Conv2d(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=channels,
            bias=False,
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def _separable(kernel: int) -> Factory:
    """Two depthwise-separable convolutions in a row, the stride in the first."""

    def make(channels: int, stride: int, affine: bool) -> nn.Module:
        return nn.Sequential(
            *_depthwise_pointwise(channels, kernel, stride=stride, dilation=1, affine=affine),
            *_depthwise_pointwise(channels, kernel, stride=1, dilation=1, affine=affine),
        )

    return make


def _dilated(kernel: int) -> Factory:
    """One depthwise-separable convolution with dilation 2."""

    def make(channels: int, stride: int, affine: bool) -> nn.Module:
        return nn.Sequential(
            *_depthwise_pointwise(channels, kernel, stride=stride, dilation=2, affine=affine)
        )

    return make


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    return FactorizedReduce(channels, channels, affine=affine)


def _conv_7x1_1x7(channels: int, stride: int, affine: bool) -> nn.Module:
    """A 1x7 convolution followed by a 7x1 one, as in the AmoebaNet space."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), stride=(1, stride), padding=(0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), stride=(stride, 1), padding=(3, 0), bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


Factory = Callable[[int, int, bool], nn.Module]

# name -> (channels, stride, affine) -> module
FACTORIES: dict[str, Factory] = {
    "none": lambda channels, stride, affine: Zero(stride),
    "max_pool_3x3": lambda channels, stride, affine: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda channels, stride, affine: nn.AvgPool2d(
        3, stride, padding=1, count_include_pad=False
    ),
    "skip_connect": _skip,
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
    "sep_conv_7x7": _separable(7),
    "conv_7x1_1x7": _conv_7x1_1x7,
    "noise": lambda channels, stride, affine: Noise(stride),
}


def make_operation(
    name: str, channels: int, stride: int, *, affine: bool = True, normalize_pool: bool = False
) -> nn.Module:
    """Build one operation.

    Args:
        name: a key of ``FACTORIES``.
        channels: channels in and out.
        stride: 1 or 2.
        affine: whether batch norms have scale and shift (they have none in a supernet, where
            they would undo the mixing weights).
        normalize_pool: put a batch norm without affine parameters behind a pooling, as the
            supernet does so that all candidates of an edge have one scale.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in FACTORIES:
        raise ValueError(f"unknown operation {name!r}; choose from {', '.join(FACTORIES)}")
    operation = FACTORIES[name](channels, stride, affine)
    if normalize_pool and "pool" in name:
        return nn.Sequential(operation, nn.BatchNorm2d(channels, affine=False))
    return operation
