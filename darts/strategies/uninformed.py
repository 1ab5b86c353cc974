"""Strategies that read no results: random search, the baseline of all others, and grid search.

References:
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from optuna.samplers import BaseSampler

from darts.registry import choice, number
from darts.strategies.point_sampler import (
    History,
    PointSampler,
    Proposal,
    ProposalStrategy,
    new_point,
)
from darts.strategies.strategy import STRATEGIES, Setup, Strategy

MAX_POINTS = 1_000_000  # the list of all points must fit into memory


@STRATEGIES.register
@dataclass
class RandomSearch(ProposalStrategy):
    """Independent random points; a point of an earlier trial is redrawn up to 100 times."""

    name: str = "random"
    multi_objective: ClassVar[bool] = True
    uses_results: ClassVar[bool] = False

    def propose(self, setup: Setup, history: History, random: Random) -> Proposal:
        return new_point(history, lambda: setup.space.draw(random)), {}


@STRATEGIES.register
@dataclass
class Grid(Strategy):
    """All combinations.

    Attributes:
        levels: Number of values per range; fewer if an integer range or its steps have fewer.
        order: ``shuffled``, so that an unfinished grid covers the whole space, or ``written``,
            the order of the parameters and their values in the configuration.
    """

    name: str = "grid"
    levels: int = number(5, low=2)
    order: str = choice("shuffled", "shuffled", "written")
    multi_objective: ClassVar[bool] = True
    uses_results: ClassVar[bool] = False

    def make_sampler(self, setup: Setup) -> BaseSampler:
        points = list(setup.space.points(self.levels))
        if self.order == "shuffled":
            Random(setup.seed).shuffle(points)
        return PointSampler(
            setup, lambda study, visible, attempt: (points[len(visible) % len(points)], {})
        )

    def check(self, setup: Setup) -> None:
        size = self.max_trials(setup)
        if size > MAX_POINTS:
            raise ValueError(
                f"strategy=grid: the grid has more than {MAX_POINTS:,} points; "
                "lower strategy.levels or the number of parameters, or choose strategy=random"
            )

    def max_trials(self, setup: Setup) -> int:
        return setup.space.size(self.levels, limit=MAX_POINTS + 1)
