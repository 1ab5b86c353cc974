"""State dicts of the edge-wise supernet and of the fast one, into each other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
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
    """State dict of ``Supernet`` from one of ``EdgewiseSupernet``.

    Raises:
        ValueError: when it is not one of ``EdgewiseSupernet``.
    """
    fused = {name: value for name, value in state.items() if not _EDGE.fullmatch(name)}
    parts: dict[tuple[int, int], dict[str, Tensor]] = defaultdict(dict)
    for name, value in state.items():
        if match := _EDGE.fullmatch(name):
            parts[int(match[1]), int(match[2])][match[3]] = value
    for cell, group, members in _layout(state, "an EdgewiseSupernet"):
        for name, value in concatenated([parts[cell, edge] for edge in members]).items():
            fused[f"cells.{cell}.groups.{group}.{name}"] = value
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ``EdgewiseSupernet`` from one of ``Supernet``.

    Raises:
        ValueError: when it is not one of ``Supernet``.
    """
    unfused = {name: value for name, value in state.items() if not _GROUP.fullmatch(name)}
    parts: dict[tuple[int, int], dict[str, Tensor]] = defaultdict(dict)
    for name, value in state.items():
        if match := _GROUP.fullmatch(name):
            parts[int(match[1]), int(match[2])][match[3]] = value
    for cell, group, members in _layout(state, "a Supernet"):
        for edge, one in zip(members, separated(parts[cell, group], len(members)), strict=True):
            for name, value in one.items():
                unfused[f"cells.{cell}.edges.{edge}.{name}"] = value
    return unfused


def _layout(state: Mapping[str, Tensor], what: str) -> Iterator[tuple[int, int, list[int]]]:
    """Cell, group and the group's edges, for all groups of the network."""
    pattern = _EDGE if "Edgewise" in what else _GROUP
    if "alphas.normal" not in state or not any(pattern.fullmatch(name) for name in state):
        raise ValueError(f"this is not the state dict of {what}")
    nodes = next(n for n in range(1, 100) if len(edges(n)) == len(state["alphas.normal"]))
    cells = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("cells."))
    for cell in range(cells):
        for group, members in enumerate(groups_of(kind_of(cell, cells), nodes)):
            yield cell, group, members
