"""Changes of an architecture by one step."""

from __future__ import annotations

from typing import NamedTuple

from darts.spaces.any_genotype import AnyGenotype


class Move(NamedTuple):
    """A change of an architecture.

    Attributes:
        name: What changes, for people.
        genotype: The new architecture.
        keeps_function: Whether the new network, with inherited weights, computes the same function
            as before in evaluation mode.
    """

    name: str
    genotype: AnyGenotype
    keeps_function: bool = True
