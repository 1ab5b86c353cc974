"""What an architecture can be: for each space its supernet, its discrete network and genotypes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from darts.spaces import cnn
from darts.spaces.genotype import Genotype

__all__ = ["SPACES", "Genotype", "Space"]


@dataclass(frozen=True)
class Space:
    """One search space.

    Attributes:
        name: its name in configurations.
        supernet: builds the supernet from keyword arguments.
        network: builds the discrete network from a genotype and keyword arguments.
        operations: names of the candidate operations, in the order of the alphas' columns.
        options: configuration keys of the space that both builders take.
    """

    name: str
    supernet: Callable[..., Any]
    network: Callable[..., Any]
    operations: tuple[str, ...]
    options: tuple[str, ...]


SPACES = {
    "cnn": Space(
        "cnn",
        supernet=cnn.Supernet,
        network=cnn.Network,
        operations=cnn.PRIMITIVES,
        options=("channels", "cells", "stem"),
    )
}
