"""Components that end unpromising trials early; each builds an Optuna pruner.

References:
    Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", arXiv:1502.07943 (successive halving).
    Li et al., "Hyperband", arXiv:1603.06560.
    Li et al., "A System for Massively Parallel Hyperparameter Tuning", arXiv:1810.05934
    (asynchronous successive halving, the variant that Optuna implements).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from optuna import pruners
from optuna.pruners import BasePruner

from darts.registry import Registry, number
from darts.strategies.strategy import silence_optuna_warnings

PRUNERS: Registry[Pruner] = Registry("pruner", "darts.strategies")


@dataclass
class Pruner(ABC):
    """A component that ends unpromising trials early."""

    name: str = ""

    @abstractmethod
    def make_pruner(self, epochs: int) -> BasePruner:
        """Build the Optuna pruner for trials of at most ``epochs`` epochs."""


@PRUNERS.register
@dataclass
class NoPruner(Pruner):
    """Every trial runs to its end."""

    name: str = "none"

    def make_pruner(self, epochs: int) -> BasePruner:
        return pruners.NopPruner()


@PRUNERS.register
@dataclass
class Median(Pruner):
    """End a trial that is worse than the median of the others at the same epoch.

    Attributes:
        startup: Number of trials that run to their end before any trial is ended.
        warmup: Epochs that each trial trains before it may be ended.
    """

    name: str = "median"
    startup: int = number(5, low=1)
    warmup: int = number(2, low=0)

    def make_pruner(self, epochs: int) -> BasePruner:
        return pruners.MedianPruner(n_startup_trials=self.startup, n_warmup_steps=self.warmup)


@PRUNERS.register
@dataclass
class Halving(Pruner):
    """Asynchronous successive halving: at some epochs (rungs), only the best trials continue.

    Attributes:
        shortest: Epochs of a trial before the first rung.
        factor: Epochs at a rung divided by the epochs at the previous rung; the best ``1 / factor``
            of the trials at a rung continue.
    """

    name: str = "halving"
    shortest: int = number(1, low=1)
    factor: int = number(3, low=2)

    def make_pruner(self, epochs: int) -> BasePruner:
        return pruners.SuccessiveHalvingPruner(self.shortest, self.factor)


@PRUNERS.register
@dataclass
class Hyperband(Halving):
    """Several successive halvings with different first rungs, of ``shortest`` epochs or more."""

    name: str = "hyperband"

    @silence_optuna_warnings()
    def make_pruner(self, epochs: int) -> BasePruner:
        return pruners.HyperbandPruner(
            min_resource=self.shortest,
            max_resource=max(epochs, self.shortest),
            reduction_factor=self.factor,
        )
