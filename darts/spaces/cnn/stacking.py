"""Stacking of equal operations into grouped convolutions, and conversion of state dicts.

The k edges of a bundle each have a copy of a candidate. ``stack`` turns the k copies into one
module of the same structure and names; the weights and batch-norm statistics of the copies are
concatenated along the first dimension. State dicts can be converted if all edges have the same
candidates, unlike in the candidate set S1.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from darts.spaces.cnn.skeleton import count_nodes
from darts.spaces.genotype import all_edges

_EDGE = re.compile(r"cells\.(\d+)\.edges\.(\d+)\.(.+)")
_BUNDLE = re.compile(r"cells\.(\d+)\.groups\.(\d+)\.(.+)")
_NAMES = {_EDGE: "an EdgewiseSupernet", _BUNDLE: "a Supernet"}

# Tensors of one cell: by index of the edge or bundle, then by name.
CellTensors: TypeAlias = dict[int, dict[str, Tensor]]


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


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``; copies the tensors.

    Raise ValueError for the state dict of another network.
    """
    fused, cells, bundles = _split(state, _EDGE)
    for cell, edges in cells.items():
        for bundle, members in enumerate(bundles):
            copies = [edges.get(edge, {}) for edge in members]
            shapes = [{name: value.shape for name, value in copy.items()} for copy in copies]
            if any(own != shapes[0] for own in shapes):
                raise ValueError(f"edges {members} of cell {cell} have different candidates")
            for name, value in concatenated(copies).items():
                fused[f"cells.{cell}.groups.{bundle}.{name}"] = value
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``; copies the tensors.

    Raise ValueError for the state dict of another network.
    """
    unfused, cells, bundles = _split(state, _BUNDLE)
    for cell, stacks in cells.items():
        for bundle, stacked in stacks.items():
            members = bundles[bundle]
            for name, value in stacked.items():
                parts = value.chunk(len(members)) if value.ndim else [value] * len(members)
                for edge, part in zip(members, parts, strict=True):
                    unfused[f"cells.{cell}.edges.{edge}.{name}"] = part.clone()
    return unfused


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


def _split(
    state: Mapping[str, Tensor], pattern: re.Pattern[str]
) -> tuple[dict[str, Tensor], dict[int, CellTensors], list[list[int]]]:
    """Return copies of the tensors outside of edges, the others by cell, and the bundles."""
    others: dict[str, Tensor] = {}
    cells: dict[int, CellTensors] = {}
    for name, value in state.items():
        if match := pattern.fullmatch(name):
            cell = cells.setdefault(int(match[1]), {})
            cell.setdefault(int(match[2]), {})[match[3]] = value
        else:
            others[name] = value.clone()
    other = _BUNDLE if pattern is _EDGE else _EDGE
    if "alphas.normal" not in state or any(other.fullmatch(name) for name in state):
        raise ValueError(f"this is not the state dict of {_NAMES[pattern]}")
    return others, cells, bundles_of(count_nodes(len(state["alphas.normal"])))
