"""Conversion of state dicts between the two supernets of the cnn space; it copies the tensors.

All edges must have the same candidates, which is not true for the candidate set S1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from darts.spaces.cnn.skeleton import count_nodes
from darts.spaces.cnn.stacking import bundles_of
from darts.spaces.supernet import concatenated, separated

State = Mapping[str, Tensor]
CellTensors = dict[int, dict[str, Tensor]]  # by index of the edge or bundle, then by name


def fuse_state_dict(state: State) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``."""
    fused, cells, bundles = _split(state, "edges")
    for cell, edges in cells.items():
        for bundle, members in enumerate(bundles):
            copies = [edges.get(edge, {}) for edge in members]
            for name, value in concatenated(copies).items():
                fused[f"cells.{cell}.groups.{bundle}.{name}"] = value
    return fused


def unfuse_state_dict(state: State) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``."""
    unfused, cells, bundles = _split(state, "groups")
    for cell, stacks in cells.items():
        for bundle, stacked in stacks.items():
            members = bundles[bundle]
            for edge, tensors in zip(members, separated(stacked, len(members)), strict=True):
                for name, value in tensors.items():
                    unfused[f"cells.{cell}.edges.{edge}.{name}"] = value
    return unfused


def _split(
    state: State, part: str
) -> tuple[dict[str, Tensor], dict[int, CellTensors], list[list[int]]]:
    """Return copies of the tensors outside of edges, the others by cell, and the bundles."""
    others: dict[str, Tensor] = {}
    cells: dict[int, CellTensors] = {}
    for name, value in state.items():
        if match := re.fullmatch(rf"cells\.(\d+)\.{part}\.(\d+)\.(.+)", name):
            cell = cells.setdefault(int(match[1]), {})
            cell.setdefault(int(match[2]), {})[match[3]] = value
        else:
            others[name] = value.clone()
    return others, cells, bundles_of(count_nodes(len(state["alphas.normal"])))
