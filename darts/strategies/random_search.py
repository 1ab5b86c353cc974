"""Random search: the baseline that a strategy has to beat.

References:
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from optuna.samplers import BaseSampler

from darts.spaces.parameters import Point
from darts.strategies.strategy import STRATEGIES, Proposer, Setup, Strategy, Tried


class RandomPoints(Proposer):
    """Points at random, none of them twice as long as others are easily found."""

    def propose(self, tried: Sequence[Tried], draw: Random) -> tuple[Point, dict[str, Any]]:
        return self.untried(tried, draw, lambda: self.space.draw(draw)), {}


@STRATEGIES.register
@dataclass
class RandomSearch(Strategy):
    """Independent draws."""

    name: str = "random"
    several: ClassVar[bool] = True

    def sampler(self, setup: Setup) -> BaseSampler:
        return RandomPoints(setup)
