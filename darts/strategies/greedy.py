"""Greedy search: change one parameter at a time and keep improvements.

A climb starts from the best of a few random points. It evaluates neighbors, which differ in one
parameter, and continues from the first better one. When no new neighbor remains, the next climb
starts. The neighbors are tried in random order, as in randomized coordinate descent.

References:
    White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search",
    arXiv:2005.02960: local search is a strong baseline on architectures.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from darts.registry import number
from darts.spaces.parameters import point_key
from darts.strategies.point_sampler import History, Proposal, ProposalStrategy, new_point
from darts.strategies.strategy import STRATEGIES, Setup

CLIMB = "greedy:climb"  # system attribute of a trial: the number of its climb


@STRATEGIES.register
@dataclass
class Greedy(ProposalStrategy):
    """Hill climbing with restarts. All workers share the current climb.

    Attributes:
        starts: Number of random points at the start of each climb, which continues from the best of
            them.
    """

    name: str = "greedy"
    starts: int = number(10, low=1)

    def propose(self, setup: Setup, history: History, random: Random) -> Proposal:
        climbs = [int(str(observation.attributes.get(CLIMB, 0))) for observation in history]
        climb = max(climbs, default=0)
        current = [own for own, other in zip(history, climbs, strict=True) if other == climb]
        finished = [observation for observation in current if observation.loss is not None]
        if finished and len(current) >= self.starts:
            keys = {observation.key for observation in history}
            best = min(finished, key=lambda observation: observation.sort_key)
            for point in setup.space.neighbors(best.point, random):
                if point_key(point) not in keys:
                    return point, {CLIMB: climb}
            climb += 1
        return new_point(history, lambda: setup.space.draw(random)), {CLIMB: climb}
