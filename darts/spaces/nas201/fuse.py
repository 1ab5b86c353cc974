"""Conversion of state dicts between the edge-wise supernet and the fast one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from torch import Tensor

from darts.spaces.nas201.genotype import EDGES, OUTGOING
from darts.spaces.nas201.parallel import concatenated, separated

_EDGE = re.compile(r"(layers\.\d+)\.edges\.(\d+)\.operations\.(\d+)\.(.+)")
_NODE = re.compile(r"(layers\.\d+)\.leaving\.(\d+)\.(\d+)\.(.+)")
_NAMES = {_EDGE: "an EdgewiseSupernet", _NODE: "a Supernet"}

OperationTensors: TypeAlias = dict[tuple[str, int, int], dict[str, Tensor]]
"""Tensors by layer, edge or node, and column; then by name."""


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``EdgewiseSupernet`` to one of ``Supernet``.

    The tensors share no memory.

    Raises:
        ValueError: it is no state dict of ``EdgewiseSupernet``.
    """
    fused, tensors = _split(state, _EDGE)
    for layer, edge, column in list(tensors):
        _require(edge < len(EDGES), _EDGE)
        source = EDGES[edge][0]
        if edge != OUTGOING[source][0]:
            continue
        copies = [tensors.pop((layer, other, column), {}) for other in OUTGOING[source]]
        _require(all(_shapes(copy) == _shapes(copies[0]) for copy in copies), _EDGE)
        for name, value in concatenated(copies).items():
            fused[f"{layer}.leaving.{source}.{column}.{name}"] = value
    _require(not tensors and not _matches(state, _NODE), _EDGE)
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ``Supernet`` to one of ``EdgewiseSupernet``.

    The tensors share no memory.

    Raises:
        ValueError: it is no state dict of ``Supernet``.
    """
    unfused, tensors = _split(state, _NODE)
    for (layer, source, column), stacked in tensors.items():
        edges = OUTGOING[source] if source < len(OUTGOING) else []
        divisible = bool(edges) and all(len(v) % len(edges) == 0 for v in stacked.values())
        _require(divisible, _NODE)
        for edge, copy in zip(edges, separated(stacked, len(edges)), strict=True):
            for name, value in copy.items():
                unfused[f"{layer}.edges.{edge}.operations.{column}.{name}"] = value
    _require(not _matches(state, _EDGE), _NODE)
    return unfused


def _split(
    state: Mapping[str, Tensor], pattern: re.Pattern[str]
) -> tuple[dict[str, Tensor], OperationTensors]:
    """Return copies of the tensors that do not match a pattern, and those that match."""
    others: dict[str, Tensor] = {}
    tensors: OperationTensors = {}
    for name, value in state.items():
        match = pattern.fullmatch(name)
        if match is None:
            others[name] = value.detach().clone()
        else:
            layer, index, column, inner = match.groups()
            tensors.setdefault((layer, int(index), int(column)), {})[inner] = value.detach()
    return others, tensors


def _matches(state: Mapping[str, Tensor], pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(name) for name in state)


def _shapes(copy: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in copy.items()}


def _require(sound: bool, pattern: re.Pattern[str]) -> None:
    if not sound:
        raise ValueError(f"this is not the state dict of {_NAMES[pattern]}")
