"""Random search: the baseline that every strategy must beat.

References:
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from optuna.samplers import BaseSampler

from darts.spaces.parameters import Point
from darts.strategies.point_sampler import Attributes, Observation, ProposalSampler
from darts.strategies.strategy import STRATEGIES, Setup, Strategy


class RandomSampler(ProposalSampler):
    """Sampler of random points; a point of an earlier trial is redrawn up to 100 times."""

    def propose(self, history: Sequence[Observation], random: Random) -> tuple[Point, Attributes]:
        return self.new_point(history, lambda: self.space.draw(random)), {}


@STRATEGIES.register
@dataclass
class RandomSearch(Strategy):
    """Independent random points."""

    name: str = "random"
    multi_objective: ClassVar[bool] = True
    uses_results: ClassVar[bool] = False

    def make_sampler(self, setup: Setup) -> BaseSampler:
        return RandomSampler(setup)
