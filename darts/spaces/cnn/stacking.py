"""Stacking of equal operations into grouped convolutions.

The k edges of a bundle each have a copy of a candidate. ``stack`` turns the k copies into one
module of the same structure and names; the weights and batch-norm statistics of the copies are
concatenated along the first dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from darts.spaces.sparse import all_edges
from darts.spaces.supernet import concatenated

Pair: TypeAlias = tuple[int, int]


def stack(copies: Sequence[nn.Module]) -> nn.Module:
    """Return one module for equal copies of an operation.

    The convolutions of all copies become one with ``len(copies)`` times as many groups; the batch
    norms become one over all channels. Modules without weights stay as they are.
    """
    first = copies[0]
    if isinstance(first, nn.Conv2d):
        return _stack_convolutions(cast(Sequence[nn.Conv2d], copies))
    if isinstance(first, nn.BatchNorm2d):
        return _stack_norms(cast(Sequence[nn.BatchNorm2d], copies))
    if not first.state_dict():
        return copy.deepcopy(first)
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
    stacked.__class__ = type(first)  # same attributes, another forward method
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
    stacked.to(cast(Tensor, first.running_mean))  # the dtype and device of the copies
    stacked.load_state_dict(concatenated([module.state_dict() for module in copies]))
    return stacked


def bundles_of(nodes: int) -> list[list[int]]:
    """Return the edges of each bundle of a cell, ordered by source, then node.

    The first bundle has the edges that leave the two inputs of the cell; each other bundle has the
    edges that leave one node. All edges of a bundle have the same stride.
    """
    pairs = all_edges(nodes)
    sources = [(0, 1), *((node,) for node in range(2, nodes + 1))]
    return [
        sorted((e for e, (source, _) in enumerate(pairs) if source in own), key=pairs.__getitem__)
        for own in sources
    ]
