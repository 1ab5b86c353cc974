"""Strategies that use Optuna's samplers: TPE, Gaussian process and NSGA-II.

References:
    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (TPE).
    Watanabe, "Tree-Structured Parzen Estimator", arXiv:2304.11127.
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006.
    Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE Transactions on
    Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler

from darts.registry import number
from darts.strategies.snapshot import snapshot_sampler
from darts.strategies.strategy import STRATEGIES, Setup, Strategy


@STRATEGIES.register
@dataclass
class Tpe(Strategy):
    """Tree-structured Parzen estimator.

    Attributes:
        startup: Number of random trials before the model is used.
        joint: Whether one model covers all parameters that are active together; otherwise each
            parameter has its own model.
    """

    name: str = "tpe"
    startup: int = number(10, low=1)
    joint: bool = True
    multi_objective: ClassVar[bool] = True

    def make_sampler(self, setup: Setup) -> BaseSampler:
        make = partial(
            TPESampler,
            n_startup_trials=self.startup,
            multivariate=self.joint,
            group=self.joint,
            constant_liar=True,
        )
        return snapshot_sampler(setup, make)


@STRATEGIES.register
@dataclass
class Gp(Strategy):
    """Gaussian process. Conditional parameters are drawn at random.

    Attributes:
        startup: Number of random trials before the model is used.
    """

    name: str = "gp"
    startup: int = number(10, low=1)
    multi_objective: ClassVar[bool] = True

    def make_sampler(self, setup: Setup) -> BaseSampler:
        make = partial(GPSampler, n_startup_trials=self.startup, warn_independent_sampling=False)
        return snapshot_sampler(setup, make)


@STRATEGIES.register
@dataclass
class Nsga2(Strategy):
    """NSGA-II: evolution with non-dominated sorting, for a Pareto front of several objectives.

    Attributes:
        population: Number of trials that survive each generation.
    """

    name: str = "nsga2"
    population: int = number(20, low=2)
    multi_objective: ClassVar[bool] = True

    def make_sampler(self, setup: Setup) -> BaseSampler:
        return snapshot_sampler(setup, partial(NSGAIISampler, population_size=self.population))
