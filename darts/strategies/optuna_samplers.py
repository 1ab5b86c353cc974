"""Strategies that use Optuna's samplers: TPE, Gaussian process, CMA-ES and NSGA-II.

References:
    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (TPE).
    Watanabe, "Tree-Structured Parzen Estimator", arXiv:2304.11127.
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006.
    Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772.
    Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE Transactions on
    Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler

from darts.registry import number
from darts.spaces.parameters import Range
from darts.strategies.strategy import STRATEGIES, Setup, Strategy, silence_optuna_warnings


@dataclass
class ModelStrategy(Strategy):
    """Base class of strategies that fit a model to the finished trials.

    Attributes:
        startup: Number of random trials before the model is used.
    """

    startup: int = number(10, low=1)


@STRATEGIES.register
@dataclass
class Tpe(ModelStrategy):
    """Tree-structured Parzen estimator.

    Attributes:
        joint: Whether one model covers all parameters that are active together; otherwise each
            parameter has its own model.
    """

    name: str = "tpe"
    joint: bool = True
    multi_objective: ClassVar[bool] = True

    @silence_optuna_warnings()
    def make_sampler(self, setup: Setup) -> BaseSampler:
        return TPESampler(
            seed=setup.worker_seed,
            n_startup_trials=self.startup,
            multivariate=self.joint,
            group=self.joint,
            constraints_func=setup.constraints,
            constant_liar=True,
        )


@STRATEGIES.register
@dataclass
class Gp(ModelStrategy):
    """Gaussian process. Conditional parameters are drawn at random."""

    name: str = "gp"
    multi_objective: ClassVar[bool] = True

    @silence_optuna_warnings()
    def make_sampler(self, setup: Setup) -> BaseSampler:
        return GPSampler(
            seed=setup.worker_seed,
            n_startup_trials=self.startup,
            constraints_func=setup.constraints,
            warn_independent_sampling=False,
        )


@STRATEGIES.register
@dataclass
class CmaEs(ModelStrategy):
    """Covariance matrix adaptation over all numeric parameters; choices are drawn at random."""

    name: str = "cmaes"

    def check(self, setup: Setup) -> None:
        super().check(setup)
        numbers = [p for p in setup.space if isinstance(p.domain, Range) and not p.conditions]
        if len(numbers) < 2:
            raise ValueError(
                "strategy=cmaes needs at least two numeric parameters without conditions, but "
                f"this study has {len(numbers)}; choose strategy=evolution"
            )
        if setup.constraints is not None:
            raise ValueError(
                "strategy=cmaes does not support limits; choose strategy=evolution or strategy=tpe"
            )

    @silence_optuna_warnings()
    def make_sampler(self, setup: Setup) -> BaseSampler:
        return CmaEsSampler(
            seed=setup.worker_seed, n_startup_trials=self.startup, warn_independent_sampling=False
        )


@STRATEGIES.register
@dataclass
class Nsga2(Strategy):
    """Non-dominated sorting: a Pareto front of several objectives.

    Attributes:
        population: Number of trials that survive each generation.
    """

    name: str = "nsga2"
    population: int = number(20, low=2)
    multi_objective: ClassVar[bool] = True

    @silence_optuna_warnings()
    def make_sampler(self, setup: Setup) -> BaseSampler:
        return NSGAIISampler(
            seed=setup.worker_seed,
            population_size=self.population,
            constraints_func=setup.constraints,
        )
