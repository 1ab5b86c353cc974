"""Operations of a discrete network that read states behind their ReLU, so that it is taken once.

Convolutions and the skip connection of stride 2 begin with a ReLU, and several of them, and the
preprocessing of two cells, read one state. Here such an operation is changed, in place, into one
that leaves the ReLU to whoever holds the state. Its depthwise convolutions take the fast path of
``darts.ops.depthwise``. Weights, their names and the function stay what they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.depthwise import depthwise_conv2d
from darts.ops.pixels import even_and_odd
from darts.spaces.cnn.operations import FactorizedReduce


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with one square kernel a channel and a padding that keeps the size.

    Shape: ``(B, C, H, W)`` -> ``(B, C, ceil(H / stride), ceil(W / stride))``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return depthwise_conv2d(input, self.weight, self.stride[0], self.dilation[0])


class RectifiedReduce(FactorizedReduce):
    """``FactorizedReduce`` of a state behind its ReLU, which touches no pixel but those it reads.

    Shape: as ``FactorizedReduce``.
    """

    def forward(self, x: Tensor) -> Tensor:
        even, odd = even_and_odd(x)
        halves = [F.conv2d(even, self.even.weight), F.conv2d(odd, self.odd.weight)]
        return self.norm(torch.cat(halves, dim=1))


def leave_relu_out(operation: nn.Module) -> bool:
    """Make an operation that begins with a ReLU read what is rectified already, in place.

    Args:
        operation: of ``darts.spaces.cnn.operations``; it keeps its weights and their names.

    Returns:
        Whether it began with a ReLU, so that it is a rectified state that it wants now.
    """
    begins = isinstance(operation, FactorizedReduce)
    if isinstance(operation, nn.Sequential) and isinstance(operation[0], nn.ReLU):
        operation[0], begins = nn.Identity(), True
    for module in operation.modules():
        # A change of class alone keeps weights, their names and what was drawn for them.
        if type(module) is FactorizedReduce:
            module.__class__ = RectifiedReduce
        elif type(module) is nn.Conv2d and _depthwise(module):
            module.__class__ = DepthwiseConv2d
    return begins


def _depthwise(module: nn.Conv2d) -> bool:
    height, width = module.kernel_size
    return module.groups == module.in_channels > 1 and height == width
