"""A network taken apart, for what each candidate operation costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class Piece(NamedTuple):
    """One module of the discrete network, where an alpha decides on it or always there.

    Attributes:
        make: builds the module as it is in the discrete network.
        shape: of its input for one image, ``(C, H, W)``.
        place: ``(group, edge, column)`` of ``Space.usage``, in most spaces of the alpha that
            decides; None for a fixed part.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    place: tuple[str, int, int] | None = None
