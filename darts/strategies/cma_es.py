"""Covariance matrix adaptation, replayed from the history of the study.

Optuna's own sampler stores the optimizer in the database of the study as a pickle, and a pickle in
an untrusted database could run code. Here a new optimizer is built for each proposal, and receives
the finished generations of the visible history one after the other.

References:
    Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from cmaes import CMA
from optuna.samplers import BaseSampler

from darts.registry import number
from darts.spaces.parameters import Parameter, Point, Range, Value
from darts.strategies.point_sampler import Attributes, Observation, ProposalSampler
from darts.strategies.strategy import STRATEGIES, Setup, Strategy

GENERATION = "cmaes:generation"  # system attribute of a trial: number of its generation
_STEP = 1 / 6  # initial standard deviation, as a fraction of each range


class CmaEsSampler(ProposalSampler):
    """Sampler that adapts a normal distribution over all ranges without conditions.

    Each range is mapped to ``[0, 1]``.
    """

    def __init__(self, setup: Setup, startup: int) -> None:
        super().__init__(setup)
        self._startup = startup
        self._ranges = adapted_ranges(setup)

    def propose(self, history: Sequence[Observation], random: Random) -> tuple[Point, Attributes]:
        finished = [trial for trial in history if trial.loss not in (None, math.inf)]
        if len(finished) < self._startup:
            return self.space.draw(random), {}
        size = len(self._ranges)
        optimizer = CMA(
            mean=np.full(size, 0.5),
            sigma=_STEP,
            bounds=np.array([[0.0, 1.0]] * size),
            seed=random.randrange(2**31),
            n_max_resampling=10 * size,
        )
        while True:
            own = [t for t in finished if t.attributes.get(GENERATION) == optimizer.generation]
            if len(own) < optimizer.population_size:
                break
            solutions = [(self._fractions(t), t.loss) for t in own[: optimizer.population_size]]
            optimizer.tell(solutions)
        fractions = optimizer.ask()
        values: dict[str, Value] = {
            name: domain.at(float(fraction))
            for (name, domain), fraction in zip(self._ranges.items(), fractions, strict=True)
        }
        return self.space.complete(values, random), {GENERATION: int(optimizer.generation)}

    def _fractions(self, trial: Observation) -> np.ndarray:
        """Return how far along each range a point lies, ``(ranges,)``, from 0 to 1."""
        values = [float(str(trial.point[name])) for name in self._ranges]
        domains = self._ranges.values()
        return np.array([d.fraction(value) for d, value in zip(domains, values, strict=True)])


def adapted_ranges(setup: Setup) -> dict[str, Range]:
    """Return the ranges without conditions that have more than one number, by parameter."""

    def is_adapted(parameter: Parameter) -> bool:
        return not parameter.conditions and len(parameter.domain.grid(2)) > 1

    return {p.name: p.domain for p in setup.space if isinstance(p.domain, Range) and is_adapted(p)}


@STRATEGIES.register
@dataclass
class CmaEs(Strategy):
    """Covariance matrix adaptation over the numeric parameters without conditions.

    All other parameters are drawn at random.

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

    def make_sampler(self, setup: Setup) -> BaseSampler:
        return CmaEsSampler(setup, self.startup)
