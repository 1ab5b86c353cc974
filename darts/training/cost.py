"""Parameters and multiply-accumulate operations (MACs) of a network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """Return the number of elements of all parameters."""
    return sum(parameter.numel() for parameter in parameters)


@torch.no_grad()
def count_macs(net: nn.Module, example: Tensor) -> int:
    """Return the multiply-accumulate operations of convolutions and matrix products.

    This is half of PyTorch's count of floating-point operations, which counts a multiplication
    and an addition as two. Papers on mobile networks call it "FLOPs" or "mult-adds".

    Args:
        net: Network; its mode and buffers stay as they are.
        example: Input with one sample, for example ``(1, C, H, W)``, on the network's device.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            net(example)
    finally:
        for module, training in modes:  # net.train() would set all modules alike
            module.training = training
    flops: int = counter.get_total_flops()
    return flops // 2
