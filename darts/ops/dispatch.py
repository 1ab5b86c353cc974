"""Choice of the kernels for each device.

A kernel that does not support a device falls back to plain PyTorch by itself.

The CPU settings come from measurements with experiments/bench_search_step.py. The GPU settings
follow from how tensor cores work and are not measured yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class KernelPlan:
    """How the parallel edges of a node are computed.

    Attributes:
        max_bytes: Upper limit on the input bytes of the edges that run as one grouped operation;
            at least one edge runs. On a CPU, tensors that fit into the cache are fastest; on a
            GPU, few large kernels are fastest.
        fused: Run a depthwise and a pointwise convolution as one dense convolution.
        compiled: Run both convolutions and their norm as one ``torch.compile`` region.
    """

    max_bytes: int
    fused: bool = False
    compiled: bool = False

    def edges_per_kernel(self, x: Tensor) -> int:
        """Return the number of edges per grouped operation; each has an input of the size of x."""
        return max(1, self.max_bytes // (x.numel() * x.element_size()))


UNLIMITED = 2**62

CPU = KernelPlan(max_bytes=2 * 2**20)
GPU = KernelPlan(max_bytes=UNLIMITED)
TENSOR_CORES = KernelPlan(max_bytes=UNLIMITED, fused=True)


def plan_kernels(x: Tensor, *, compiled: bool = False) -> KernelPlan:
    """Return the kernel plan for the device and the dtype of an input."""
    device = x.device.type
    if device == "cpu":
        plan = CPU
    else:
        reduced = torch.is_autocast_enabled(device) or x.dtype in (torch.bfloat16, torch.float16)
        plan = TENSOR_CORES if reduced else GPU
    return replace(plan, compiled=True) if compiled else plan
