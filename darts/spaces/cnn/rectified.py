"""Operations that read rectified states, so that the ReLU of a state is computed once.

Convolutions and the skip connection of stride 2 begin with a ReLU. Several of them, and the
preprocessing of two cells, read the same state. This module removes the ReLU from such an operation
in place; the caller rectifies the state. It also replaces depthwise convolutions by the kernels of
``darts.ops.depthwise``. Weights and their names do not change.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.depthwise import depthwise_conv2d
from darts.ops.pixels import split_even_odd
from darts.spaces.cnn.operations import FactorizedReduce


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with one square kernel per channel and a padding that keeps the size.

    Shape: ``(B, C, H, W)`` -> ``(B, C, ceil(H / stride), ceil(W / stride))``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return depthwise_conv2d(input, self.weight, self.stride[0], self.dilation[0])


class RectifiedReduce(FactorizedReduce):
    """``FactorizedReduce`` of a rectified state; it processes only the pixels that it reads.

    Shape: as ``FactorizedReduce``.
    """

    def forward(self, x: Tensor) -> Tensor:
        even, odd = split_even_odd(x)
        halves = [F.conv2d(even, self.even.weight), F.conv2d(odd, self.odd.weight)]
        output: Tensor = self.norm(torch.cat(halves, dim=1))
        return output


def remove_leading_relu(operation: nn.Module) -> bool:
    """Remove the ReLU at the start of an operation, in place.

    Args:
        operation: of ``darts.spaces.cnn.operations``; it keeps its weights and their names.

    Returns:
        Whether it began with a ReLU, so that it must now read a rectified state.
    """
    begins = isinstance(operation, FactorizedReduce)
    if isinstance(operation, nn.Sequential) and isinstance(operation[0], nn.ReLU):
        operation[0], begins = nn.Identity(), True
    for module in operation.modules():
        # A change of the class keeps the weights, their names and the random state.
        if type(module) is FactorizedReduce:
            module.__class__ = RectifiedReduce
        elif type(module) is nn.Conv2d and _depthwise(module):
            module.__class__ = DepthwiseConv2d
    return begins


def _depthwise(module: nn.Conv2d) -> bool:
    height, width = module.kernel_size
    return module.groups == module.in_channels > 1 and height == width
