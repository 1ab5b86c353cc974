"""Modules whose inner tensors are computed again for the backward pass instead of being kept.

References:
    Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Any, draws: bool = False) -> Any:
    """``module(*inputs)``, keeping its inputs alone for the backward pass.

    The second computation uses the weights of the first, even where ``functional_call`` has put
    them into the module for a time, and moves no running statistics.

    Args:
        module: what to run.
        *inputs: of it.
        draws: whether it draws random numbers, which have to be the same again.
    """
    if not torch.is_grad_enabled():
        return module(*inputs)
    weights = dict(module.named_parameters())
    buffers = dict(module.named_buffers())
    again = False

    def compute(*inputs: Any) -> Any:
        nonlocal again
        if not again:
            again = True
            return module(*inputs)
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        return functional_call(module, {**weights, **copies}, inputs)

    return checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=draws)
