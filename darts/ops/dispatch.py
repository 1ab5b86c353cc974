"""Choice of the kernels for each device.

A kernel that does not support a device falls back to plain PyTorch by itself.

The CPU settings come from measurements with experiments/bench_search_step.py. The GPU settings
follow from how tensor cores work and are not measured yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNLIMITED = 2**62


@dataclass(frozen=True)
class KernelPlan:
    """How the edges of a bundle are computed."""

    # Upper limit on the input bytes of the edges that run as one grouped operation; at least one
    # edge runs. On a CPU, tensors that fit into the cache are fastest; on a GPU, few large kernels.
    max_bytes: int
    fused: bool = False  # run a depthwise and a pointwise convolution as one dense convolution

    @property
    def batched(self) -> bool:
        """Whether all edges of a bundle run at once, with as few kernels as possible."""
        return self.max_bytes >= UNLIMITED

    def edges_per_kernel(self, x: Tensor) -> int:
        """Return the number of edges per grouped operation; each has an input of the size of x."""
        return max(1, self.max_bytes // (x.numel() * x.element_size()))


CPU = KernelPlan(max_bytes=2 * 2**20)
GPU = KernelPlan(max_bytes=UNLIMITED)
TENSOR_CORES = KernelPlan(max_bytes=UNLIMITED, fused=True)


def plan_kernels(x: Tensor) -> KernelPlan:
    """Return the kernel plan for the device and the dtype of an input."""
    device = x.device.type
    if device == "cpu":
        return CPU
    reduced = autocasts(device) or x.dtype in (torch.bfloat16, torch.float16)
    return TENSOR_CORES if reduced else GPU


def autocasts(device: str) -> bool:
    """Return whether automatic mixed precision is on for a type of devices."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
