"""Stacking of equal operations into grouped convolutions, and conversion of state dicts.

The k edges of a bundle each have a copy of a candidate. ``stack`` turns the k copies into one
module of the same structure and names; the weights and batch-norm statistics of the copies are
concatenated along the first dimension.

The conversion of state dicts requires that all edges have the same candidates, which is not true
for the candidate set S1.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from darts.spaces.cnn.skeleton import count_nodes
from darts.spaces.sparse import all_edges
from darts.spaces.supernet import concatenated, separated

Pair: TypeAlias = tuple[int, int]

_EDGE = re.compile(r"cells\.(\d+)\.edges\.(\d+)\.(.+)")
_BUNDLE = re.compile(r"cells\.(\d+)\.groups\.(\d+)\.(.+)")
_NAMES = {_EDGE: "an EdgewiseSupernet", _BUNDLE: "a Supernet"}

CellTensors: TypeAlias = dict[int, dict[str, Tensor]]
"""Tensors of one cell: by index of the edge or bundle, then by name."""


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


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``; copies the tensors.

    Raises:
        ValueError: ``state`` is not a state dict of ``EdgewiseSupernet``.
    """
    fused, cells, bundles = _split(state, _EDGE)
    for cell, edges in cells.items():
        for bundle, members in enumerate(bundles):
            copies = [edges.get(edge, {}) for edge in members]
            if not all(_same_shapes(copies[0], copy) for copy in copies):
                raise ValueError(f"edges {members} of cell {cell} have different candidates")
            for name, value in concatenated(copies).items():
                fused[f"cells.{cell}.groups.{bundle}.{name}"] = value
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``; copies the tensors.

    Raises:
        ValueError: ``state`` is not a state dict of ``Supernet``.
    """
    unfused, cells, bundles = _split(state, _BUNDLE)
    for cell, stacks in cells.items():
        for bundle, stacked in stacks.items():
            members = bundles[bundle]
            for edge, tensors in zip(members, separated(stacked, len(members)), strict=True):
                for name, value in tensors.items():
                    unfused[f"cells.{cell}.edges.{edge}.{name}"] = value
    return unfused


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


def _same_shapes(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[name].shape == b[name].shape for name in a)
