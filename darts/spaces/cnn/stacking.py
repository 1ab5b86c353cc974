"""Stacking of several copies of an operation into one module of grouped convolutions.

The k edges of a bundle each have a copy of a candidate. ``stack`` turns the k copies into one
module of the same structure and names; its weights and batch-norm statistics are those of the
copies, concatenated along the first dimension. ``separated`` is the inverse for state dicts.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

Pair: TypeAlias = tuple[int, int]


def stack(copies: Sequence[nn.Module]) -> nn.Module:
    """Return one module for equal copies of an operation.

    The convolutions of all copies become one with ``len(copies)`` times as many groups; the batch
    norms become one over all channels. Modules without weights stay as they are.

    Raises:
        TypeError: the module cannot be stacked.
    """
    first = copies[0]
    if isinstance(first, nn.Conv2d):
        return _stack_convolutions(cast(Sequence[nn.Conv2d], copies))
    if isinstance(first, nn.BatchNorm2d):
        return _stack_norms(cast(Sequence[nn.BatchNorm2d], copies))
    if not first.state_dict():
        return copy.deepcopy(first)
    if first._parameters or first._buffers:
        raise TypeError(f"{type(first).__name__} has its own weights and cannot be stacked")
    stacked = copy.copy(first)
    stacked._modules = {
        name: stack([module.get_submodule(name) for module in copies]) for name in first._modules
    }
    return stacked


def _stack_convolutions(copies: Sequence[nn.Conv2d]) -> nn.Conv2d:
    first, count = copies[0], len(copies)
    with torch.device("meta"):
        stacked = nn.Conv2d(
            count * first.in_channels,
            count * first.out_channels,
            cast(Pair, first.kernel_size),
            stride=cast(Pair, first.stride),
            padding=cast(Pair, first.padding),
            dilation=cast(Pair, first.dilation),
            groups=count * first.groups,
            bias=first.bias is not None,
        )
    stacked.weight = nn.Parameter(torch.cat([module.weight.detach() for module in copies]))
    if first.bias is not None:
        biases = [cast(Tensor, module.bias).detach() for module in copies]
        stacked.bias = nn.Parameter(torch.cat(biases))
    return stacked


def _stack_norms(copies: Sequence[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    first = copies[0]
    stacked = nn.BatchNorm2d(
        len(copies) * first.num_features, first.eps, first.momentum, first.affine
    )
    stacked.to(cast(Tensor, first.running_mean))  # its type and device
    stacked.load_state_dict(concatenated([module.state_dict() for module in copies]))
    return stacked


def concatenated(copies: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the state dict of the stacked module for those of the copies.

    Batch counters are scalars; copies that always ran together have equal counters. Of different
    counters, the largest is used.
    """
    return {
        name: torch.cat([state[name] for state in copies])
        if value.ndim
        else torch.stack([state[name] for state in copies]).amax()
        for name, value in copies[0].items()
    }


def separated(stacked: dict[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Return the state dicts of the copies for that of the stacked module; they share no memory."""
    return [
        {
            name: value.chunk(count)[index].clone() if value.ndim else value.clone()
            for name, value in stacked.items()
        }
        for index in range(count)
    ]
