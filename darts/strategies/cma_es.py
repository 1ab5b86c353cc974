"""Covariance matrix adaptation, replayed from the history of the study.

Optuna's own sampler stores the optimizer in the database of the study as a pickle, and a pickle in
an untrusted database could run code. Here a new optimizer is built for each proposal, and receives
the finished generations of the visible history one after the other.

References:
    Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from cmaes import CMA

from darts.registry import number
from darts.spaces.parameters import Range, Value
from darts.strategies.point_sampler import History, Observation, Proposal, ProposalStrategy
from darts.strategies.strategy import STRATEGIES, Setup

GENERATION = "cmaes:generation"  # system attribute of a trial: number of its generation
_STEP = 1 / 6  # initial standard deviation, as a fraction of each range


def adapted_ranges(setup: Setup) -> dict[str, Range]:
    """Return the ranges without conditions that have more than one number, by parameter."""

    free = [p for p in setup.space if not p.conditions and len(p.domain.grid(2)) > 1]
    return {p.name: p.domain for p in free if isinstance(p.domain, Range)}


@STRATEGIES.register
@dataclass
class CmaEs(ProposalStrategy):
    """Covariance matrix adaptation over the numeric parameters without conditions.

    Each range is mapped to ``[0, 1]``. All other parameters are drawn at random.

    Attributes:
        startup: Number of random trials before the distribution is adapted.
    """

    name: str = "cmaes"
    startup: int = number(10, low=1)

    def check(self, setup: Setup) -> None:
        super().check(setup)
        ranges = adapted_ranges(setup)
        if len(ranges) < 2:
            raise ValueError(
                "strategy=cmaes needs at least two numeric parameters without conditions, but "
                f"this study has {len(ranges)}; choose strategy=evolution"
            )
        if setup.constraints is not None:
            raise ValueError(
                "strategy=cmaes does not support limits; choose strategy=evolution or strategy=tpe"
            )

    def propose(self, setup: Setup, history: History, random: Random) -> Proposal:
        finished = [trial for trial in history if trial.loss not in (None, math.inf)]
        if len(finished) < self.startup:
            return setup.space.draw(random), {}
        ranges = adapted_ranges(setup)
        optimizer = CMA(
            mean=np.full(len(ranges), 0.5),
            sigma=_STEP,
            bounds=np.array([[0.0, 1.0]] * len(ranges)),
            seed=random.randrange(2**31),
            n_max_resampling=10 * len(ranges),
        )
        while True:
            own = [t for t in finished if t.attributes.get(GENERATION) == optimizer.generation]
            if len(own) < optimizer.population_size:
                break
            optimizer.tell(
                [(_fractions(t, ranges), t.loss) for t in own[: optimizer.population_size]]
            )
        values: dict[str, Value] = {
            name: domain.at(float(fraction))
            for (name, domain), fraction in zip(ranges.items(), optimizer.ask(), strict=True)
        }
        point = setup.space.complete(values, random)
        return point, {GENERATION: int(optimizer.generation)}


def _fractions(trial: Observation, ranges: Mapping[str, Range]) -> np.ndarray:
    """Return how far along each range a point lies, ``(ranges,)``, from 0 to 1."""
    return np.array(
        [domain.fraction(float(str(trial.point[name]))) for name, domain in ranges.items()]
    )
