"""Which way of computing is taken where: the one place that knows devices apart.

The figures behind the row of the CPU are those of experiments/bench_search_step.py. The row of the
GPU follows from how tensor cores work and has not been measured yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """How the parallel edges of a node are computed.

    Attributes:
        bytes_at_once: how many edges run as one grouped operation: as many as have inputs of so
            many bytes together, but at least one. On a CPU, tensors that its cache holds win; on a
            GPU, few and large kernels.
        folded_hidden: largest number of channels for which a norm that a ReLU follows is folded
            into its convolution (``darts.kernels.pointwise``).
        folded_last: the same for the norm that ends an operation.
        composed: whether a depthwise and a pointwise convolution run as one dense convolution.
        compiled: whether they run with their norm as one region of ``torch.compile``.
    """

    bytes_at_once: int
    folded_hidden: int = 0
    folded_last: int = 0
    composed: bool = False
    compiled: bool = False

    def edges_at_once(self, x: Tensor) -> int:
        """The number for edges whose inputs are as large as ``x``."""
        return max(1, self.bytes_at_once // (x.numel() * x.element_size()))


ALL = 2**62

CPU = Choice(bytes_at_once=4 * 2**20, folded_hidden=16, folded_last=32)
CPU_REDUCED = Choice(bytes_at_once=4 * 2**20)
GPU = Choice(bytes_at_once=ALL)
GPU_REDUCED = Choice(bytes_at_once=ALL, composed=True)


def choose(x: Tensor, *, compiled: bool = False, synchronised: bool = False) -> Choice:
    """The choice for operations on ``x``.

    Reduced precision needs its statistics in float32, and those of several ranks are gathered by a
    norm of its own, so neither folds the norm.

    Args:
        x: decides by its device and type.
        compiled: the user asked for compilation.
        synchronised: batch statistics are those of several ranks.
    """
    device = x.device.type
    reduced = torch.is_autocast_enabled(device) or x.dtype in (torch.bfloat16, torch.float16)
    if device == "cpu":
        choice = CPU_REDUCED if reduced else CPU
    else:
        choice = GPU_REDUCED if reduced else GPU
    if synchronised:
        return replace(choice, folded_hidden=0, folded_last=0)
    return replace(choice, compiled=True) if compiled else choice
