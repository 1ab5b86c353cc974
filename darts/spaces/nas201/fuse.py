"""State dicts of the edge-wise supernet and of the fast one, into each other."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from darts.spaces.nas201.genotype import EDGES, OUTGOING
from darts.spaces.nas201.parallel import side_by_side, taken_apart

_EDGE = re.compile(r"(layers\.\d+)\.edges\.(\d+)\.operations\.(\d+)\.(.+)")
_NODE = re.compile(r"(layers\.\d+)\.leaving\.(\d+)\.(\d+)\.(.+)")

Parts = dict[tuple[str, int, int], dict[str, Tensor]]


def fuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ``Supernet`` from one of ``EdgewiseSupernet``; they share no memory.

    Raises:
        ValueError: when it is not one of ``EdgewiseSupernet``.
    """
    fused, parts = _split(state, _EDGE)
    for layer, edge, operation in list(parts):
        if edge >= len(EDGES):
            raise ValueError("this is not the state dict of an EdgewiseSupernet")
        source = EDGES[edge][0]
        if edge != OUTGOING[source][0]:
            continue
        copies = [parts.pop((layer, number, operation), {}) for number in OUTGOING[source]]
        if any(_shapes(copy) != _shapes(copies[0]) for copy in copies):
            raise ValueError("this is not the state dict of an EdgewiseSupernet")
        for name, value in side_by_side(copies).items():
            fused[f"{layer}.leaving.{source}.{operation}.{name}"] = value
    if parts or _matches(state, _NODE):
        raise ValueError("this is not the state dict of an EdgewiseSupernet")
    return fused


def unfuse_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of ``EdgewiseSupernet`` from one of ``Supernet``; they share no memory.

    Raises:
        ValueError: when it is not one of ``Supernet``.
    """
    unfused, parts = _split(state, _NODE)
    for (layer, source, operation), together in parts.items():
        numbers = OUTGOING[source] if source < len(OUTGOING) else []
        if not numbers or any(len(value) % len(numbers) for value in together.values()):
            raise ValueError("this is not the state dict of a Supernet")
        for number, copy in zip(numbers, taken_apart(together, len(numbers)), strict=True):
            for name, value in copy.items():
                unfused[f"{layer}.edges.{number}.operations.{operation}.{name}"] = value
    if _matches(state, _EDGE):
        raise ValueError("this is not the state dict of a Supernet")
    return unfused


def _split(
    state: Mapping[str, Tensor], pattern: re.Pattern[str]
) -> tuple[dict[str, Tensor], Parts]:
    """What both networks have alike, copied, and the parts that the pattern names."""
    alike: dict[str, Tensor] = {}
    parts: Parts = {}
    for name, value in state.items():
        match = pattern.fullmatch(name)
        if match is None:
            alike[name] = value.detach().clone()
        else:
            layer, place, operation, inner = match.groups()
            key = layer, int(place), int(operation)
            parts.setdefault(key, {})[inner] = value.detach()
    return alike, parts


def _matches(state: Mapping[str, Tensor], pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(name) for name in state)


def _shapes(copy: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in copy.items()}
