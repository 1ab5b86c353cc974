"""Search guided by a model of what is good: Optuna's Parzen estimators and Gaussian process.

References:
    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (TPE).
    Watanabe, "Tree-Structured Parzen Estimator", arXiv:2304.11127.
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optuna.samplers import BaseSampler, GPSampler, TPESampler

from darts.registry import number
from darts.strategies.strategy import STRATEGIES, Setup, Strategy, quiet


@STRATEGIES.register
@dataclass
class Tpe(Strategy):
    """Tree of Parzen estimators.

    Attributes:
        startup: trials at random before the model is asked.
        joint: model parameters together, those under conditions in groups; otherwise one by one.
    """

    name: str = "tpe"
    startup: int = number(10, low=1)
    joint: bool = True
    several: ClassVar[bool] = True

    def sampler(self, setup: Setup) -> BaseSampler:
        with quiet():
            return TPESampler(
                seed=setup.seed,
                n_startup_trials=self.startup,
                multivariate=self.joint,
                group=self.joint,
                constraints_func=setup.constraints,
                constant_liar=True,
            )


@STRATEGIES.register
@dataclass
class Gp(Strategy):
    """Gaussian process. Parameters under conditions are drawn at random.

    Attributes:
        startup: trials at random before the model is asked.
    """

    name: str = "gp"
    startup: int = number(10, low=1)
    several: ClassVar[bool] = True

    def sampler(self, setup: Setup) -> BaseSampler:
        with quiet():
            return GPSampler(
                seed=setup.seed,
                n_startup_trials=self.startup,
                constraints_func=setup.constraints,
                warn_independent_sampling=False,
            )
