"""Conversion of state dicts between the two supernets of the space ``cnn``.

State dicts can be converted if all edges have the same candidates, unlike in the candidate set S1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from torch import Tensor

from darts.spaces.cnn.skeleton import count_nodes
from darts.spaces.cnn.stacking import bundles_of, concatenated

_EDGE = re.compile(r"cells\.(\d+)\.edges\.(\d+)\.(.+)")
_BUNDLE = re.compile(r"cells\.(\d+)\.groups\.(\d+)\.(.+)")
_NAMES = {_EDGE: "an EdgewiseSupernet", _BUNDLE: "a Supernet"}

CellTensors: TypeAlias = dict[int, dict[str, Tensor]]
"""Tensors of one cell: by index of the edge or bundle, then by name."""


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
            for edge, tensors in zip(members, separated(stacked, len(members)), strict=True):
                for name, value in tensors.items():
                    unfused[f"cells.{cell}.edges.{edge}.{name}"] = value
    return unfused


def separated(stacked: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Split the state dict of a stacked module into one per copy; the tensors are cloned."""
    return [
        {
            name: value.chunk(count)[index].clone() if value.ndim else value.clone()
            for name, value in stacked.items()
        }
        for index in range(count)
    ]


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
