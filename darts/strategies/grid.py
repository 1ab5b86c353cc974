"""Grid search: every combination once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from darts.registry import choice, number
from darts.spaces.parameters import Point
from darts.strategies.strategy import (
    RETRIED,
    STRATEGIES,
    PointSampler,
    Setup,
    Strategy,
    place_of,
)

LARGEST = 1_000_000  # points; a list of more would only fill memory


class GridPoints(PointSampler):
    """The points of a grid in their order, each by the trial in its place.

    Trials that repeat a lost one have its place.
    """

    def __init__(self, setup: Setup, points: Sequence[Point]) -> None:
        super().__init__(setup)
        self.points = points

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        number = trial.system_attrs.get(RETRIED, trial.number)
        place = place_of(number, study.get_trials(deepcopy=False))
        return self.points[place % len(self.points)]


@STRATEGIES.register
@dataclass
class Grid(Strategy):
    """All combinations.

    Attributes:
        levels: how many numbers of a continuum, or of more integers than that, are tried.
        order: shuffled, so that a grid that is not finished covers the whole space, or as written.
    """

    name: str = "grid"
    levels: int = number(5, low=2)
    order: str = choice("shuffled", "shuffled", "written")
    several: ClassVar[bool] = True

    def sampler(self, setup: Setup) -> BaseSampler:
        points = list(setup.space.points(self.levels))
        if self.order == "shuffled":
            Random(setup.seed).shuffle(points)
        return GridPoints(setup, points)

    def check(self, setup: Setup) -> None:
        size = self.limit(setup)
        if size > LARGEST:
            raise ValueError(
                f"the grid has {size:,} points; lower strategy.levels or the number of parameters, "
                "or choose strategy=random"
            )

    def limit(self, setup: Setup) -> int:
        return setup.space.size(self.levels, most=LARGEST + 1)
