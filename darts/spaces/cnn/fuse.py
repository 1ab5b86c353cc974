"""State dicts of the edge-wise supernet and of the fast one, into each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby

from torch import Tensor

from darts.spaces.cnn.skeleton import edges, kind_of
from darts.spaces.cnn.stacked import concatenated, separated

_EDGE = re.compile(r"cells\.(\d+)\.edges\.(\d+)\.(.+)")
_GROUP = re.compile(r"cells\.(\d+)\.groups\.(\d+)\.(.+)")


def groups_of(kind: str, nodes: int) -> list[list[int]]:
    """Which edges of a cell are computed together: those of one node and one stride.

    Args:
        kind: "normal" or "reduce".
        nodes: intermediate nodes of the cell.

    Returns:
        Numbers of the edges, group by group, in their order.
    """
    pairs = edges(nodes)

    def node_and_stride(number: int) -> tuple[int, bool]:
        source, node = pairs[number]
        return node, kind == "reduce" and source < 2

    return [list(run) for _, run in groupby(range(len(pairs)), node_and_stride)]


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ``Supernet`` from one of ``EdgewiseSupernet``; they share no memory.

    Raises:
        ValueError: when it is not one of ``EdgewiseSupernet``.
    """
    fused, parts, layout = _taken_apart(state, _EDGE, "an EdgewiseSupernet")
    for cell, groups in enumerate(layout):
        for group, members in enumerate(groups):
            copies = [parts[cell].get(edge, {}) for edge in members]
            _require(all(_alike(copies[0], copy) for copy in copies), "an EdgewiseSupernet")
            for name, value in concatenated(copies).items():
                fused[f"cells.{cell}.groups.{group}.{name}"] = value
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ``EdgewiseSupernet`` from one of ``Supernet``; they share no memory.

    Raises:
        ValueError: when it is not one of ``Supernet``.
    """
    unfused, parts, layout = _taken_apart(state, _GROUP, "a Supernet")
    for cell, groups in enumerate(layout):
        for group, members in enumerate(groups):
            stacked, count = parts[cell].get(group, {}), len(members)
            whole = all(value.ndim == 0 or len(value) % count == 0 for value in stacked.values())
            _require(whole, "a Supernet")
            for edge, one in zip(members, separated(stacked, count), strict=True):
                for name, value in one.items():
                    unfused[f"cells.{cell}.edges.{edge}.{name}"] = value
    return unfused


Parts = list[dict[int, dict[str, Tensor]]]  # by cell, by number within it, by name within that


def _taken_apart(
    state: Mapping[str, Tensor], pattern: re.Pattern[str], what: str
) -> tuple[dict[str, Tensor], Parts, list[list[list[int]]]]:
    """What stays as it is, the parts that match, and the groups of each cell."""
    rest = {name: value.clone() for name, value in state.items() if not pattern.fullmatch(name)}
    cells = len({name.split(".")[1] for name in state if name.startswith("cells.")})
    rows = len(state["alphas.normal"]) if "alphas.normal" in state else -1
    nodes = next((n for n in range(1, 100) if len(edges(n)) == rows), 0)
    _require(nodes > 0 and "alphas.reduce" in state and len(state["alphas.reduce"]) == rows, what)
    layout = [groups_of(kind_of(cell, cells), nodes) for cell in range(cells)]
    parts: Parts = [{} for _ in range(cells)]
    for name, value in state.items():
        if match := pattern.fullmatch(name):
            cell, number = int(match[1]), int(match[2])
            _require(cell < cells, what)
            parts[cell].setdefault(number, {})[match[3]] = value
    other = _GROUP if pattern is _EDGE else _EDGE
    _require(cells > 0 and not any(other.fullmatch(name) for name in state), what)
    names: dict[bool, set[str]] = {}  # of the weights of an edge, by whether it halves the image
    for cell, (numbers, groups) in enumerate(zip(parts, layout, strict=True)):
        firsts = range(rows) if pattern is _EDGE else [members[0] for members in groups]
        for number, first in enumerate(firsts):
            halves = kind_of(cell, cells) == "reduce" and edges(nodes)[first][0] < 2
            own = set(numbers.get(number, {}))
            _require(own == names.setdefault(halves, own), what)
        _require(set(numbers) <= set(range(len(firsts))), what)
    return rest, parts, layout


def _alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[k].shape == other[k].shape for k in one)


def _require(sound: bool, what: str) -> None:
    if not sound:
        raise ValueError(f"this is not the state dict of {what}")
