"""Several copies of one operation as one: their weights side by side, run as grouped convolutions.

The k edges of a group each have a copy of every candidate operation. ``stack`` turns the k copies
into one module of the same structure and the same names, whose weights and batch-norm statistics
are those of the copies concatenated along the first dimension. ``separated`` cuts their state
dicts apart again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn


def stack(copies: Sequence[nn.Module]) -> nn.Module:
    """One module from equal copies of an operation.

    Convolutions of all copies become one with ``len(copies)`` times as many groups, batch norms one
    over all channels; what has no weights stays as it is.

    Raises:
        TypeError: for a module that cannot be stacked.
    """
    first = copies[0]
    if isinstance(first, nn.Conv2d):
        return _stack_convolutions(cast(Sequence[nn.Conv2d], copies))
    if isinstance(first, nn.BatchNorm2d):
        return _stack_norms(cast(Sequence[nn.BatchNorm2d], copies))
    if not first.state_dict():
        return copy.deepcopy(first)
    if first._parameters or first._buffers:
        raise TypeError(f"{type(first).__name__} holds weights of its own and cannot be stacked")
    stacked = copy.copy(first)
    stacked._modules = {
        name: stack([one.get_submodule(name) for one in copies]) for name in first._modules
    }
    return stacked


def _stack_convolutions(copies: Sequence[nn.Conv2d]) -> nn.Conv2d:
    first, number = copies[0], len(copies)
    with torch.device("meta"):
        stacked = nn.Conv2d(
            number * first.in_channels,
            number * first.out_channels,
            cast(Any, first.kernel_size),
            stride=cast(Any, first.stride),
            padding=cast(Any, first.padding),
            dilation=cast(Any, first.dilation),
            groups=number * first.groups,
            bias=first.bias is not None,
        )
    stacked.weight = nn.Parameter(torch.cat([one.weight.detach() for one in copies]))
    if first.bias is not None:
        stacked.bias = nn.Parameter(torch.cat([cast(Tensor, one.bias).detach() for one in copies]))
    return stacked


def _stack_norms(copies: Sequence[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    first = copies[0]
    stacked = nn.BatchNorm2d(
        len(copies) * first.num_features, first.eps, first.momentum, first.affine
    )
    stacked.to(cast(Tensor, first.running_mean))  # its type and device
    stacked.load_state_dict(concatenated([one.state_dict() for one in copies]))
    return stacked


def concatenated(copies: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """State dict of the stacked module from those of the copies.

    Counters of batches, which are single numbers, are equal in copies that always ran together; of
    others the largest is kept.
    """
    return {
        name: torch.cat([one[name] for one in copies])
        if value.ndim
        else torch.stack([one[name] for one in copies]).amax()
        for name, value in copies[0].items()
    }


def separated(stacked: dict[str, Tensor], number: int) -> list[dict[str, Tensor]]:
    """State dicts of the copies from that of the stacked module; they share no memory."""
    return [
        {
            name: value.chunk(number)[index].clone() if value.ndim else value.clone()
            for name, value in stacked.items()
        }
        for index in range(number)
    ]
