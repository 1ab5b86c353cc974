"""Greedy search: change one parameter at a time, and keep what is better.

From a start, a neighbor that differs in one parameter is tried; where it is better, the climb goes
on from there, and where no neighbor is, a new climb begins elsewhere. Along one coordinate after
the other this is coordinate descent, with the coordinates in a random order.

References:
    White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search",
    arXiv:2005.02960: local search is a strong baseline on architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from optuna.samplers import BaseSampler

from darts.registry import number
from darts.spaces.parameters import Point, key_of
from darts.strategies.strategy import STRATEGIES, Proposer, Setup, Strategy, Tried

CLIMB = "greedy:climb"
"""The attribute that says which climb a trial belongs to."""


class Climber(Proposer):
    """Climbs one after the other; workers share the present one."""

    def __init__(self, setup: Setup, starts: int) -> None:
        super().__init__(setup)
        self.starts = starts

    def propose(self, tried: Sequence[Tried], draw: Random) -> tuple[Point, dict[str, Any]]:
        climb = max((one.marks.get(CLIMB, 0) for one in tried), default=0)
        own = [one for one in tried if one.marks.get(CLIMB, 0) == climb]
        known = [one for one in own if one.loss is not None]
        if known and len(own) >= self.starts:
            keys = {one.key for one in tried}
            best = min(known, key=lambda one: one.order)
            for point in self.space.neighbors(best.point, draw):
                if key_of(point) not in keys:
                    return point, {CLIMB: climb}
            climb += 1
        return self.untried(tried, draw, lambda: self.space.draw(draw)), {CLIMB: climb}


@STRATEGIES.register
@dataclass
class Greedy(Strategy):
    """Hill climbing with restarts.

    Attributes:
        starts: points drawn at random for each climb, which begins at the best of them.
    """

    name: str = "greedy"
    starts: int = number(10, low=1)

    def sampler(self, setup: Setup) -> BaseSampler:
        return Climber(setup, self.starts)
