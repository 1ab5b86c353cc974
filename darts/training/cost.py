"""Parameters and multiply-accumulate operations (MACs) of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from darts.training.scoring import evaluating


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """Return the number of elements of all parameters."""
    return sum(parameter.numel() for parameter in parameters)


def _rnn_flops(
    inputs: Sequence[int], weights: Iterable[Sequence[int]], *_: object, **__: object
) -> int:
    """Return the floating-point operations of a fused kernel of recurrent layers, given shapes.

    Each matrix is applied once to each position of ``inputs``, ``(T, B, ...)`` or ``(B, T, ...)``.
    """
    return 2 * inputs[0] * inputs[1] * sum(math.prod(w) for w in weights if len(w) == 2)


def _mkldnn_rnn_flops(
    inputs: Sequence[int], *weights: Sequence[int], out_shape: object, **_: object
) -> int:
    """Return the floating-point operations of one layer with two matrices and two biases."""
    return _rnn_flops(inputs, weights[:2])


# Fused kernels that PyTorch's counter omits: one layer on a CPU, and all layers on a GPU.
_RNN_KERNELS = {
    torch.ops.aten.mkldnn_rnn_layer: _mkldnn_rnn_flops,
    torch.ops.aten._cudnn_rnn: _rnn_flops,
}


@torch.no_grad()
def count_macs(net: nn.Module, example: Tensor) -> int:
    """Return the multiply-accumulate operations of convolutions, matrix products and LSTMs.

    This is half of PyTorch's count of floating-point operations, which counts a multiplication
    and an addition as two. Papers on mobile networks call it "FLOPs" or "mult-adds". ``example`` is
    an input with one sample, for example ``(1, C, H, W)``, on the network's device.
    """
    with evaluating(net), FlopCounterMode(display=False, custom_mapping=_RNN_KERNELS) as counter:
        net(example)
    flops: int = counter.get_total_flops()
    return flops // 2
