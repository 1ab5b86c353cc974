"""Pieces of a discrete network, for the cost of each candidate."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class NetworkPiece(NamedTuple):
    """One module of the discrete network: a candidate of an edge, or a fixed module.

    Attributes:
        make: builds the module as the discrete network has it.
        shape: shape of its input for one sample, for example ``(C, H, W)``.
        place: ``(group, edge, column)`` in the result of ``Space.expected_usage``; None for a fixed
            module.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    place: tuple[str, int, int] | None = None
