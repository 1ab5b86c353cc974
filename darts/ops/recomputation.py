"""Activation checkpointing for modules whose parameters may be replaced for one call.

References:
    Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


def recompute(module: nn.Module, *inputs: Any, random: bool = False) -> Any:
    """Compute ``module(*inputs)`` and keep only the inputs for the backward pass.

    The backward pass computes the module again, with the weights of the first computation even if
    ``functional_call`` replaced them temporarily, and without updating running statistics. With
    ``random=True`` it draws the same random numbers again.
    """
    if not torch.is_grad_enabled():
        return module(*inputs)
    weights = dict(module.named_parameters())
    buffers = dict(module.named_buffers())
    computed = False

    def compute(*inputs: Any) -> Any:
        nonlocal computed
        if not computed:
            computed = True
            return module(*inputs)
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        return functional_call(module, {**weights, **copies}, inputs)

    return checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=random)
