"""The factorial design that tells the gain of A from that of H.

The default and the best architecture are each trained with the default and the best
hyperparameters, with seeds that the search did not use: the scores of a search's winner are those
of whoever was luckiest, and so no measure of a gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Value

FACTORS = ("architecture", "hyperparameters")


class Corners:
    """The space of ``{default, best} x {default, best} x seeds``, for a study of its own.

    Args:
        space: of the search.
        best: the point found.
        seeds: of the trainings.

    Attributes:
        factors: those of ``FACTORS`` that were searched for.
    """

    def __init__(self, space: Any, best: Point, seeds: range) -> None:
        self._space, self._best = space, best
        present = space.groups()
        self.factors = [name for name in FACTORS if name in present]
        levels = Choice(("default", "best"))
        factors = [Parameter(name, levels) for name in self.factors]
        self.parameters = Parameters([Parameter("seed", Choice(tuple(seeds))), *factors])

    def genotype(self, point: Mapping[str, Value]) -> Any:
        """The best architecture, or None for the default, which the overrides name."""
        return self._space.genotype(self._best) if point.get(FACTORS[0]) == "best" else None

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """What a corner adds to the command line."""
        texts: list[str] = []
        if point.get(FACTORS[0]) == "best":
            texts += self._space.of_architecture(self._best)
        if point.get(FACTORS[1]) == "best":
            texts += self._space.of_settings(self._best)
        return [*texts, f"seed={point['seed']}"]

    def settings(self, point: Point) -> Point:
        """All of it."""
        return dict(point)

    def shown(self, point: Point) -> Point:
        """All of it."""
        return dict(point)
