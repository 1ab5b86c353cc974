"""Base class and registry of strategies, and conversions to Optuna."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import ClassVar

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial

from darts.registry import Registry
from darts.spaces.parameters import Choice, Domain, Parameters, Point

STRATEGIES: Registry[Strategy] = Registry("strategy", "darts.strategies")

_filters = RLock()  # the filters of warnings are global, and threads would restore wrong ones

Constraints = Callable[[FrozenTrial], Sequence[float]]


@dataclass(frozen=True)
class Setup:
    """What a strategy knows about a study.

    Attributes:
        constraints: Function of a finished trial that returns the relative excess over each
            limit, which is at most 0 within the limit. None without limits.
        allows: Function that returns whether the network of a point is within its limits.
    """

    space: Parameters
    seed: int = 0  # the same for all workers
    window: int = 1  # see darts.strategies.history
    objectives: int = 1  # their number: the metric and the costs
    constraints: Constraints | None = None
    allows: Callable[[Point], bool] = lambda point: True


@dataclass
class Strategy(ABC):
    """A component that proposes the next point."""

    name: str = ""
    multi_objective: ClassVar[bool] = False  # whether the strategy supports several objectives
    uses_results: ClassVar[bool] = True  # whether proposals depend on the results of trials

    @abstractmethod
    def make_sampler(self, setup: Setup) -> BaseSampler:
        """Build the Optuna sampler."""

    def check(self, setup: Setup) -> None:
        """Raise a one-line ``ValueError`` if the strategy does not support the setup."""
        if setup.objectives > 1 and not self.multi_objective:
            names = ", ".join(name for name in STRATEGIES if STRATEGIES[name].multi_objective)
            raise ValueError(
                f"strategy={self.name} supports only one objective; with costs, choose from {names}"
            )

    def max_trials(self, setup: Setup) -> int | None:
        """Return the number of distinct points that it proposes, or None if it is unlimited."""
        return None


def distribution(domain: Domain) -> CategoricalDistribution | FloatDistribution | IntDistribution:
    """Convert a domain to an Optuna distribution."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if not domain.integer:
        return FloatDistribution(domain.low, domain.high, domain.log, domain.step)
    low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
    # Optuna warns if (high - low) is not a multiple of step.
    return IntDistribution(low, high - (high - low) % step, domain.log, step)


def suggest_point(trial: Trial, parameters: Parameters) -> Point:
    """Ask the sampler of the study for a value of each active parameter, and store the values."""
    point: Point = {}
    for parameter in parameters:
        if parameter.active(point):
            name, domain = parameter.name, parameter.domain
            point[name] = trial._suggest(name, distribution(domain))
    return point


@contextmanager
def silence_optuna_warnings() -> Iterator[None]:
    """Suppress Optuna's warnings about experimental features and renamed options."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", "`constraints_func` has been deprecated", FutureWarning)
        yield
