"""What a network costs: weights and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers the parameters hold."""
    return sum(parameter.numel() for parameter in parameters)


@torch.no_grad()
def count_macs(net: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of the convolutions and matrix products for one image.

    Half of PyTorch's count of floating-point operations, which takes a multiplication and an
    addition as two; what papers on mobile networks print as "FLOPs" or "mult-adds" is this number.

    Args:
        net: mode and buffers are left as they are.
        image: ``(1, C, H, W)`` on the network's device.
    """
    training = net.training
    net.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            net(image)
    finally:
        net.train(training)
    return counter.get_total_flops() // 2
