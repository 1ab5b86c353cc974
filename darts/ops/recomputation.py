"""Activation checkpointing for modules whose parameters may be replaced for one call.

References:
    Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
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
    buffers = dict(module.named_buffers())
    missing = [(m, name) for m in module.modules() for name, b in m._buffers.items() if b is None]
    computed, twice = False, is_differentiable_twice()

    def compute(*inputs: Any) -> Any:
        nonlocal computed
        if not computed:
            computed = True
            return module(*inputs)
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        # The backward pass may run in another thread, outside of the caller's context.
        with _removed(missing), differentiable_twice() if twice else nullcontext():
            return functional_call(module, {**weights, **copies}, inputs)

    return checkpoint(compute, *inputs, use_reentrant=False)


@contextmanager
def _removed(buffers: Sequence[tuple[nn.Module, str]]) -> Iterator[None]:
    """Set buffers, given by module and name, to None."""
    before: list[tuple[dict[str, Tensor | None], str, Tensor | None]] = [
        (module._buffers, name, module._buffers[name]) for module, name in buffers
    ]
    for holder, name, _ in before:
        holder[name] = None
    try:
        yield
    finally:
        for holder, name, buffer in before:
            holder[name] = buffer
