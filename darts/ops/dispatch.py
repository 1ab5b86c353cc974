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
        composed: whether a depthwise and a pointwise convolution run as one dense convolution.
        compiled: whether they run with their norm as one region of ``torch.compile``.
    """

    bytes_at_once: int
    composed: bool = False
    compiled: bool = False

    def edges_at_once(self, x: Tensor) -> int:
        """The number for edges whose inputs are as large as ``x``."""
        return max(1, self.bytes_at_once // (x.numel() * x.element_size()))


ALL = 2**62

CPU = Choice(bytes_at_once=2 * 2**20)
GPU = Choice(bytes_at_once=ALL)
TENSOR_CORES = Choice(bytes_at_once=ALL, composed=True)


def choose(x: Tensor, *, compiled: bool = False) -> Choice:
    """The choice for operations on ``x``.

    Args:
        x: decides by its device and type.
        compiled: the user asked for compilation.
    """
    device = x.device.type
    if device == "cpu":
        choice = CPU
    else:
        reduced = torch.is_autocast_enabled(device) or x.dtype in (torch.bfloat16, torch.float16)
        choice = TENSOR_CORES if reduced else GPU
    return replace(choice, compiled=True) if compiled else choice
