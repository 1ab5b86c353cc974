"""Optuna's other evolutionary strategies: CMA-ES for numbers, NSGA-II for several objectives.

References:
    Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772.
    Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE Transactions on
    Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler

from darts.registry import number
from darts.spaces.parameters import Range
from darts.strategies.strategy import STRATEGIES, Setup, Strategy, quiet


@STRATEGIES.register
@dataclass
class CmaEs(Strategy):
    """Covariance matrix adaptation over all numbers; choices are drawn at random.

    Attributes:
        startup: trials at random before it begins.
    """

    name: str = "cmaes"
    startup: int = number(10, low=1)

    def check(self, setup: Setup) -> None:
        super().check(setup)
        numbers = [p for p in setup.space if isinstance(p.domain, Range) and not p.when]
        if len(numbers) < 2:
            raise ValueError(
                "strategy=cmaes adapts to two or more numbers without conditions, and parameters "
                f"has {len(numbers)}; choose strategy=evolution"
            )
        if setup.constraints is not None:
            raise ValueError("strategy=cmaes knows no limits; choose strategy=evolution or tpe")

    def sampler(self, setup: Setup) -> BaseSampler:
        with quiet():
            return CmaEsSampler(
                seed=setup.seed, n_startup_trials=self.startup, warn_independent_sampling=False
            )


@STRATEGIES.register
@dataclass
class Nsga2(Strategy):
    """Non-dominated sorting: a front of compromises between objectives.

    Attributes:
        population: how many survive a generation.
    """

    name: str = "nsga2"
    population: int = number(20, low=2)
    several: ClassVar[bool] = True

    def sampler(self, setup: Setup) -> BaseSampler:
        with quiet():
            return NSGAIISampler(
                seed=setup.seed,
                population_size=self.population,
                constraints_func=setup.constraints,
            )
