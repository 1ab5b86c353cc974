"""Giving up trials early: Optuna's pruners as parts.

References:
    Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", arXiv:1502.07943 (successive halving).
    Li et al., "Hyperband", arXiv:1603.06560; Li et al., "A System for Massively Parallel
    Hyperparameter Tuning", arXiv:1810.05934 (asynchronous halving, which Optuna's is).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)

from darts.registry import Registry, number

PRUNING = Registry("pruning", "darts.strategies")


@dataclass
class Pruning(ABC):
    """A rule by which trials are given up."""

    name: str = ""

    @abstractmethod
    def pruner(self, epochs: int) -> BasePruner:
        """The pruner for Optuna, of trials with so many epochs at most."""


@PRUNING.register
@dataclass
class NoPruning(Pruning):
    """Every trial runs to its end."""

    name: str = "none"

    def pruner(self, epochs: int) -> BasePruner:
        return NopPruner()


@PRUNING.register
@dataclass
class Median(Pruning):
    """Give up what is worse than half of the others at its epoch.

    Attributes:
        startup: trials that run to their end first.
        warmup: epochs that every trial is given.
    """

    name: str = "median"
    startup: int = number(5, low=1)
    warmup: int = number(2, low=0)

    def pruner(self, epochs: int) -> BasePruner:
        return MedianPruner(n_startup_trials=self.startup, n_warmup_steps=self.warmup)


@PRUNING.register
@dataclass
class Halving(Pruning):
    """Asynchronous successive halving: of so many trials at a rung, one goes on to the next.

    Attributes:
        shortest: epochs of the first rung.
        factor: how many trials share a place at the next rung, which has as many times the epochs.
    """

    name: str = "halving"
    shortest: int = number(1, low=1)
    factor: int = number(3, low=2)

    def pruner(self, epochs: int) -> BasePruner:
        return SuccessiveHalvingPruner(min_resource=self.shortest, reduction_factor=self.factor)


@PRUNING.register
@dataclass
class Hyperband(Pruning):
    """Successive halving with several lengths of the first rung at once.

    Attributes:
        shortest: epochs of the shortest first rung.
        factor: see ``Halving``.
    """

    name: str = "hyperband"
    shortest: int = number(1, low=1)
    factor: int = number(3, low=2)

    def pruner(self, epochs: int) -> BasePruner:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return HyperbandPruner(
                min_resource=self.shortest,
                max_resource=max(epochs, self.shortest),
                reduction_factor=self.factor,
            )
