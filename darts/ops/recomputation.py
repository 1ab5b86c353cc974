"""Activation checkpointing for modules whose parameters may be replaced for one call.

References:
    Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from darts.ops.grouped_conv import differentiable_twice, is_differentiable_twice


def recompute(module: nn.Module, *inputs: Any) -> Any:
    """Compute ``module(*inputs)`` and keep only the inputs for the backward pass.

    The backward pass computes the module again, with the weights of the first computation even if
    ``functional_call`` replaced them temporarily, with the same random numbers, and without
    updating running statistics.
    """
    if not torch.is_grad_enabled():
        return module(*inputs)
    weights = dict(module.named_parameters())
    buffers = {  # also those that are None at present
        f"{path}.{name}".removeprefix("."): buffer
        for path, part in module.named_modules()
        for name, buffer in part._buffers.items()
    }
    computed, twice = False, is_differentiable_twice()

    def compute(*inputs: Any) -> Any:
        nonlocal computed
        if not computed:
            computed = True
            return module(*inputs)
        copies: dict[str, Any] = {
            name: b if b is None else b.clone() for name, b in buffers.items()
        }
        # The backward pass may run in another thread, outside of the caller's context.
        with differentiable_twice() if twice else nullcontext():
            return functional_call(module, {**weights, **copies}, inputs)

    return checkpoint(compute, *inputs, use_reentrant=False)
