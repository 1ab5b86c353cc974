"""Which way of computing is taken where: the one place that knows devices apart.

The figures behind the row of the CPU are those of experiments/bench_search_step.py. The row of the
GPU follows from how tensor cores work and has not been measured yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """How the parallel edges of a node are computed.

    Attributes:
        edges_at_once: edges in one grouped operation. On a CPU one edge's tensors fit in its cache;
            on a GPU fewer and larger kernels win.
        folded_hidden: largest number of channels for which a norm that a ReLU follows is folded
            into its convolution (``darts.kernels.pointwise``).
        folded_last: the same for the norm that ends an operation.
        composed: whether a depthwise and a pointwise convolution run as one dense convolution.
    """

    edges_at_once: int
    folded_hidden: int
    folded_last: int
    composed: bool


CPU = Choice(edges_at_once=1, folded_hidden=16, folded_last=32, composed=False)
CPU_REDUCED = Choice(edges_at_once=1, folded_hidden=0, folded_last=0, composed=False)
GPU = Choice(edges_at_once=64, folded_hidden=0, folded_last=0, composed=False)
GPU_REDUCED = Choice(edges_at_once=64, folded_hidden=0, folded_last=0, composed=True)


def choose(x: Tensor) -> Choice:
    """The choice for operations on ``x``; reduced precision needs its statistics in float32."""
    device = x.device.type
    reduced = torch.is_autocast_enabled(device) or x.dtype in (torch.bfloat16, torch.float16)
    if device == "cpu":
        return CPU_REDUCED if reduced else CPU
    return GPU_REDUCED if reduced else GPU
