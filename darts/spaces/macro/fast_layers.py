"""Layers of the skeleton ``fast`` of the macro space.

References:
    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498, sections 3.1 and
    3.2; Zagoruyko and Komodakis, "DiracNets", arXiv:1706.00388: convolutions that begin as the
    identity.
    Liu et al., "A ConvNet for the 2020s", arXiv:2201.03545, section 2.4.
    Srinivas et al., "Bottleneck Transformers for Visual Recognition", arXiv:2101.11605, section 3:
    attention over all positions of a feature map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.pointwise import PointwiseConv2d
from darts.spaces.cnn.operations import DepthwiseConv2d
from darts.spaces.macro.genotype import Kernel, Shape
from darts.spaces.network import FittedLayer, FittingData, first_samples
from darts.spaces.rank_dropout import drop_path

# Builds an activation function.
Activation = Callable[[], nn.Module]

SIDE = 2  # of a patch, in pixels
MAX_COMPONENTS = 24  # principal components of patches, for images of more than six channels
HEADS = 4  # of attention
VARIANCE_FLOOR = 5e-4  # of normalized pixels, as in the paper; bounds the gain of rare patterns


def count_components(in_channels: int) -> int:
    return min(in_channels * SIDE**2, MAX_COMPONENTS)


class WhitenedPatches(FittedLayer):
    """A fixed 2x2 convolution to whitened patches and their negatives, with a learned bias, GELU.

    The filters are the principal components of 2x2 patches, scaled to unit variance; ``fit``
    computes them. Until then they are random. They are a buffer, so no optimizer changes them.

    Shape: ``(B, C, H, W)`` -> ``(B, 2 K, H, W)`` with K = ``count_components(C)``. Zeros at the
    lower and right border keep the size.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        count = count_components(in_channels)
        filters = torch.nn.init.orthogonal_(torch.empty(count, in_channels * SIDE**2))
        filters = filters.view(count, in_channels, SIDE, SIDE)
        self.weight = nn.Buffer(torch.cat([filters, -filters]))
        self.bias = nn.Parameter(torch.zeros(2 * count))

    def fit(self, data: FittingData) -> None:
        """Compute the filters from the first training images."""
        self.whiten(first_samples(data.loader))

    def whiten(self, images: Tensor) -> None:
        """Compute the filters from images ``(N, C, H, W)``.

        Sides shorter than a patch are padded as in the forward pass. Without two different patches,
        the filters stay as they are.
        """
        height, width = images.shape[2:]
        images = F.pad(images.double(), (0, max(SIDE - width, 0), 0, max(SIDE - height, 0)))
        patches = F.unfold(images, SIDE, stride=SIDE).transpose(1, 2).flatten(0, 1)
        if len(patches) < 2:
            return
        values, vectors = torch.linalg.eigh(torch.cov(patches.t()))
        count = len(self.weight) // 2
        scaled = (vectors / (values.clamp_min(0) + VARIANCE_FLOOR).sqrt()).t().flip(0)[:count]
        filters = scaled.view(count, -1, SIDE, SIDE).to(self.weight)
        self.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias))


class SumConv2d(nn.Conv2d):
    """The sum of convolutions with different kernels; all but the first begin with zeros.

    A network that gains a kernel therefore still computes the same function.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernels: Sizes and dilations, at least one. ``weight`` is the first kernel.
        stride: Stride of all convolutions; with stride 1, the image keeps its size.
    """

    def __init__(self, inputs: int, outputs: int, kernels: Sequence[Kernel], stride: int) -> None:
        def options(kernel: Kernel) -> dict[str, Any]:
            padding = kernel.dilation * (kernel.size // 2)
            own = {"padding": padding, "dilation": kernel.dilation}
            return {"kernel_size": kernel.size, "stride": stride, "bias": False, **own}

        first, *others = kernels
        super().__init__(inputs, outputs, **options(first))
        self.others = nn.ModuleDict(
            {str(kernel): nn.Conv2d(inputs, outputs, **options(kernel)) for kernel in others}
        )
        for parameter in self.others.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        for conv in self.others.values():
            y = y + conv(x)
        return y


class Excitation(nn.Module):
    """Multiplies each channel by a function, in (-1, 1), of the means of all channels.

    Shape: ``(B, channels, H, W)`` -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(channels // 4, 1))
        self.excite = nn.Linear(max(channels // 4, 1), channels)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.excite(F.gelu(self.squeeze(x.mean((2, 3))))).tanh()
        return x * gate[:, :, None, None]


class Residual(nn.Module):
    """``x + layers(x)``; without ``residual``, because layers change the shape, ``layers(x)``.

    In training, ``drop_path`` may drop the layers.
    """

    def __init__(self, *layers: nn.Module, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, probability: float = 0.0) -> Tensor:
        y: Tensor = self.layers(x)
        return x + drop_path(self, y, probability) if self.residual else y


def begin_as_identity(block: Residual) -> None:
    """Set the last layer with weights to zeros, so that a residual block returns its input."""
    *_, last = (module for module in block.modules() if hasattr(module, "weight"))
    for parameter in last.parameters(recurse=False):
        nn.init.zeros_(parameter)


def convnext_block(channels: int, activation: Activation, *, affine: bool) -> Residual:
    """Return a ConvNeXt block with batch norm in place of layer norm."""
    return Residual(
        DepthwiseConv2d(channels, channels, 7, padding=3, groups=channels, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
        PointwiseConv2d(channels, 4 * channels),
        activation(),
        PointwiseConv2d(4 * channels, channels),
    )


class GlobalAttention(nn.Module):
    """Multi-head self-attention over all positions of a feature map, without encoded positions.

    The number of heads is the largest divisor of the channels and ``HEADS``.

    Shape: ``(B, channels, H, W)`` -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(channels, HEADS)
        self.project = PointwiseConv2d(channels, 3 * channels)
        self.out = PointwiseConv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        # (B, 3, heads, channels / heads, positions)
        parts = self.project(x).flatten(2).unflatten(1, (3, self.heads, -1))
        queries, keys, values = parts.unbind(1)
        scores = queries.transpose(2, 3) @ keys / math.sqrt(queries.shape[2])
        y = values @ scores.softmax(3).transpose(2, 3)
        out: Tensor = self.out(y.flatten(1, 2).unflatten(2, x.shape[2:]))
        return out


class MaxClassifier(nn.Module):
    """Maximum or mean pooling to a grid, and a linear classifier without bias; scaled logits.

    The scale makes up for the large learning rate of the classifier's weights: logits of unit
    features have a deviation of about 0.1 to 0.3 at the start.

    Shape: ``(B, channels, H, W)`` -> ``(B, classes)``.
    """

    SCALE = 0.25

    def __init__(self, channels: int, classes: int, side: int, *, takes_mean: bool = False) -> None:
        super().__init__()
        self.side, self.reduce = side, torch.mean if takes_mean else torch.amax
        self.linear = nn.Linear(side**2 * channels, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        side, reduce = self.side, self.reduce
        pooled = reduce(x, (2, 3)) if side == 1 else pool(x, side, reduce).flatten(1)
        y: Tensor = self.linear(pooled) * self.SCALE
        return y


class Heads(nn.ModuleDict):
    """The sum of linear classifiers of differently pooled features; all but the first begin at 0.

    Shape: ``(B, channels, H, W)`` -> ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int, shape: Shape) -> None:
        super().__init__(
            {
                name: MaxClassifier(channels, classes, side, takes_mean=kind == "mean")
                for name, (kind, side) in shape.head_sides().items()
            }
        )
        for head in [*self.values()][1:]:
            assert isinstance(head, MaxClassifier)
            nn.init.zeros_(head.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([head(x) for head in self.values()]).sum(0)


def split_parts(images: Tensor, parts: int) -> Tensor:
    """Cut images into a grid, ``(B, C, H, W)`` -> ``(B * parts * parts, C, h, w)``.

    Zeros at the lower and right border make the sides divisible.
    """
    height, width = images.shape[2:]
    x = F.pad(images, (0, -width % parts, 0, -height % parts))
    columns = torch.unflatten(x, 3, (parts, -1))
    cells = torch.unflatten(columns, 2, (parts, -1))  # (B, C, row, h, column, w)
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def join_parts(x: Tensor, parts: int) -> Tensor:
    """Put the features of the parts next to each other; the inverse of ``split_parts``."""
    cells = torch.unflatten(x, 0, (-1, parts, parts)).permute(0, 3, 1, 4, 2, 5)
    return cells.flatten(4, 5).flatten(2, 3)


def pool(x: Tensor, side: int, reduce: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Reduce ``side`` times ``side`` windows, which may overlap by a pixel, to one value each.

    Equal to adaptive pooling, ``(B, C, H, W)`` -> ``(B, C, side, side)``. ONNX lacks it for maxima
    and for image sizes that ``side`` does not divide.
    """
    for axis in (2, 3):
        length = x.shape[axis]
        bounds = [(i * length // side, -(-(i + 1) * length // side)) for i in range(side)]
        windows = [x.narrow(axis, begin, end - begin) for begin, end in bounds]
        x = torch.stack([reduce(window, axis) for window in windows], axis)
    return x


class GridPool2d(nn.Module):
    """Average pooling to a grid, ``(B, C, H, W)`` -> ``(B, C, side, side)``."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def extra_repr(self) -> str:
        return str(self.side)

    def forward(self, x: Tensor) -> Tensor:
        return pool(x, self.side, torch.mean)
