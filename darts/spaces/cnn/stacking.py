"""Stacking of equal operations into grouped convolutions.

The k edges of a bundle each have a copy of a candidate. ``stack`` turns the k copies into one
module of the same structure and names; the weights and batch-norm statistics of the copies are
concatenated along the first dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from darts.spaces.genotype import all_edges


@torch.no_grad()
def stack(copies: Sequence[nn.Module]) -> nn.Module:
    """Return one module for equal copies of an operation; its convolutions have more groups."""
    first = copies[0]
    stacked = copy.copy(first)
    for name in ("in_channels", "out_channels", "groups", "num_features"):
        if hasattr(first, name):
            setattr(stacked, name, len(copies) * getattr(first, name))
    weights = concatenated([dict(module.named_parameters(recurse=False)) for module in copies])
    buffers = concatenated([dict(module.named_buffers(recurse=False)) for module in copies])
    stacked._parameters = {
        **first._parameters,
        **{name: nn.Parameter(weight) for name, weight in weights.items()},
    }
    stacked._buffers = {**first._buffers, **buffers}
    stacked._modules = {
        name: stack([module.get_submodule(name) for module in copies]) for name in first._modules
    }
    return stacked


def bundles_of(nodes: int) -> list[list[int]]:
    """Return the edges of each bundle of a cell, ordered by source, then node.

    The first bundle has the edges that leave the two inputs of the cell; each other bundle has the
    edges that leave one node.
    """
    pairs = all_edges(nodes)
    sources = [(0, 1), *((node,) for node in range(2, nodes + 1))]
    return [
        sorted((e for e, (source, _) in enumerate(pairs) if source in own), key=pairs.__getitem__)
        for own in sources
    ]


def concatenated(copies: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the state dicts of the copies into the state dict of the stacked module.

    Of batch counters, which are scalars, the largest is used.
    """
    return {
        name: torch.cat([state[name] for state in copies])
        if value.ndim
        else torch.stack([state[name] for state in copies]).amax()
        for name, value in copies[0].items()
    }
