"""An operation: a separable convolution whose channels are weighted by their means.

References:
    Hu et al., "Squeeze-and-Excitation Networks", arXiv:1709.01507, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darts.spaces.cnn.operations import make_operation, register_operation


class SqueezeExcite(nn.Module):
    """Multiply each channel by a factor from 0 to 1, computed from the means of all channels.

    Shape: ``(B, C, H, W)`` -> ``(B, C, H, W)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 4, 4)
        self.squeeze, self.excite = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        factors = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        return x * factors[:, :, None, None]


def _se_conv_3x3(channels: int, stride: int, affine: bool) -> nn.Module:
    convolution = make_operation("sep_conv_3x3", channels, stride, affine=affine)
    return nn.Sequential(convolution, SqueezeExcite(channels))


register_operation("se_conv_3x3", _se_conv_3x3)
