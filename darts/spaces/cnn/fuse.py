"""Conversion of state dicts between the edge-wise supernet and the fast one.

The fast supernet stores the copies of an operation that run together as one stacked module, see
``darts.spaces.cnn.stacking``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from torch import Tensor

from darts.spaces.cnn.skeleton import edges, group_of
from darts.spaces.cnn.stacking import concatenated, separated

_EDGE = re.compile(r"cells\.(\d+)\.edges\.(\d+)\.(.+)")
_BUNDLE = re.compile(r"cells\.(\d+)\.groups\.(\d+)\.(.+)")
_NAMES = {_EDGE: "an EdgewiseSupernet", _BUNDLE: "a Supernet"}

CellTensors: TypeAlias = dict[int, dict[str, Tensor]]
"""Tensors of one cell: by index of the edge or bundle, then by name."""


def bundles_of(group: str, nodes: int) -> list[list[int]]:
    """Return the edges of each bundle: those with the same node and the same stride.

    Args:
        group: "normal" or "reduce".
        nodes: intermediate nodes of a cell.

    Returns:
        Indices of the edges by bundle, in their order.
    """
    pairs = edges(nodes)

    def node_and_stride(edge: int) -> tuple[int, bool]:
        source, node = pairs[edge]
        return node, group == "reduce" and source < 2

    return [list(run) for _, run in groupby(range(len(pairs)), node_and_stride)]


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``.

    The tensors share no memory.

    Raises:
        ValueError: it is no state dict of ``EdgewiseSupernet``.
    """
    parsed = _parse(state, _EDGE)
    fused = parsed.others
    for cell, bundles in enumerate(parsed.bundles):
        for bundle, members in enumerate(bundles):
            copies = [parsed.cells[cell].get(edge, {}) for edge in members]
            _require(all(_same_shapes(copies[0], copy) for copy in copies), _EDGE)
            for name, value in concatenated(copies).items():
                fused[f"cells.{cell}.groups.{bundle}.{name}"] = value
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``.

    The tensors share no memory.

    Raises:
        ValueError: it is no state dict of ``Supernet``.
    """
    parsed = _parse(state, _BUNDLE)
    unfused = parsed.others
    for cell, bundles in enumerate(parsed.bundles):
        for bundle, members in enumerate(bundles):
            stacked, count = parsed.cells[cell].get(bundle, {}), len(members)
            divisible = all(v.ndim == 0 or len(v) % count == 0 for v in stacked.values())
            _require(divisible, _BUNDLE)
            for edge, tensors in zip(members, separated(stacked, count), strict=True):
                for name, value in tensors.items():
                    unfused[f"cells.{cell}.edges.{edge}.{name}"] = value
    return unfused


@dataclass
class _ParsedState:
    """A state dict by cell.

    Attributes:
        others: copies of the tensors that belong to no edge or bundle.
        cells: tensors of each cell.
        bundles: edges of each bundle of each cell.
    """

    others: dict[str, Tensor]
    cells: list[CellTensors]
    bundles: list[list[list[int]]]


def _parse(state: Mapping[str, Tensor], pattern: re.Pattern[str]) -> _ParsedState:
    """Sort the tensors whose names match a pattern by cell, and check that none is missing."""
    others = {name: value.clone() for name, value in state.items() if not pattern.fullmatch(name)}
    cells = len({name.split(".")[1] for name in state if name.startswith("cells.")})
    rows = len(state["alphas.normal"]) if "alphas.normal" in state else -1
    nodes = next((n for n in range(1, 100) if len(edges(n)) == rows), 0)
    sound = nodes > 0 and "alphas.reduce" in state and len(state["alphas.reduce"]) == rows
    _require(sound, pattern)
    bundles = [bundles_of(group_of(cell, cells), nodes) for cell in range(cells)]
    tensors: list[CellTensors] = [{} for _ in range(cells)]
    for name, value in state.items():
        if match := pattern.fullmatch(name):
            cell, index = int(match[1]), int(match[2])
            _require(cell < cells, pattern)
            tensors[cell].setdefault(index, {})[match[3]] = value
    other = _BUNDLE if pattern is _EDGE else _EDGE
    _require(cells > 0 and not any(other.fullmatch(name) for name in state), pattern)
    expected: dict[bool, set[str]] = {}  # names of the tensors of an edge, by "has stride 2"
    for cell, (own, own_bundles) in enumerate(zip(tensors, bundles, strict=True)):
        first_edges = range(rows) if pattern is _EDGE else [edge for edge, *_ in own_bundles]
        for index, edge in enumerate(first_edges):
            halves = group_of(cell, cells) == "reduce" and edges(nodes)[edge][0] < 2
            names = set(own.get(index, {}))
            _require(names == expected.setdefault(halves, names), pattern)
        _require(set(own) <= set(range(len(first_edges))), pattern)
    return _ParsedState(others, tensors, bundles)


def _same_shapes(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[name].shape == b[name].shape for name in a)


def _require(sound: bool, pattern: re.Pattern[str]) -> None:
    if not sound:
        raise ValueError(f"this is not the state dict of {_NAMES[pattern]}")
