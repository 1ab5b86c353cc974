"""What a strategy is, and the samplers that propose whole points."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from darts.registry import Registry
from darts.spaces.parameters import Choice, Domain, Parameters, Point, key_of

STRATEGIES = Registry("strategy", "darts.strategies")

Constraints = Callable[[FrozenTrial], Sequence[float]]

RETRIED = "failed_trial"
"""System attribute of a trial that repeats a lost one: the lost one's number."""

SURPLUS = "surplus"
"""User attribute of a trial that began when there were enough, and was not evaluated."""


def place_of(number: int, trials: Sequence[FrozenTrial]) -> int:
    """How many trials of smaller numbers take a place of their own.

    All of them are there when a trial begins, whichever worker made them, so that no two trials
    have the same place. Those that repeat a lost trial stand in its place.
    """
    return sum(
        other.number < number
        and RETRIED not in other.system_attrs
        and SURPLUS not in other.user_attrs
        for other in trials
    )


@dataclass(frozen=True)
class Setup:
    """What a strategy is given.

    Attributes:
        space: the parameters.
        seed: of the study, different in each worker for samplers that keep a random state.
        objectives: how many scores are steered by.
        constraints: of a finished trial, by how much each limit is exceeded (at most 0: it is kept
            to); None where there are no limits.
    """

    space: Parameters
    seed: int = 0
    objectives: int = 1
    constraints: Constraints | None = None


@dataclass
class Strategy(ABC):
    """A way through a space of parameters."""

    name: str = ""
    several: ClassVar[bool] = False  # whether it can follow several objectives

    @abstractmethod
    def sampler(self, setup: Setup) -> BaseSampler:
        """The sampler for Optuna."""

    def check(self, setup: Setup) -> None:
        """Raise ValueError, in one line, for a space that it is not made for."""
        if setup.objectives > 1 and not self.several:
            known = ", ".join(name for name in STRATEGIES if STRATEGIES[name].several)
            raise ValueError(
                f"strategy={self.name} follows one objective; with costs choose from {known}"
            )

    def limit(self, setup: Setup) -> int | None:
        """After how many trials there is nothing left to try; None for never."""
        return None


def distribution(domain: Domain) -> BaseDistribution:
    """A domain as Optuna calls it."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if not domain.whole:
        return FloatDistribution(domain.low, domain.high, domain.log, domain.step)
    low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
    # Optuna would warn of an upper bound that is no step away from the lower one.
    return IntDistribution(low, high - (high - low) % step, domain.log, step)


@contextmanager
def quiet() -> Iterator[None]:
    """Nobody is to read that Optuna calls a sampler experimental, or may rename its options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", "`constraints_func` has been deprecated", FutureWarning)
        yield


@dataclass(frozen=True)
class Tried:
    """A trial as the strategies see it.

    Attributes:
        point: what was tried.
        key: equal for equal points.
        loss: lower is better; infinite for one that failed or was pruned, None while it runs.
        excess: by how much limits are exceeded, all added up.
        marks: attributes that a sampler gave it.
    """

    point: Point
    key: Any
    loss: float | None
    excess: float = 0.0
    marks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def order(self) -> tuple[float, float]:
        """To sort by, best first: whatever keeps to the limits comes before all others."""
        return self.excess, math.inf if self.loss is None else self.loss


class PointSampler(BaseSampler):
    """A sampler of whole points, conditions included, where Optuna's own go by parameter."""

    def __init__(self, setup: Setup) -> None:
        self.space = setup.space
        self._setup = setup
        self._distributions = {p.name: distribution(p.domain) for p in setup.space}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """For what a repeated trial, killed amid its parameters, still lacks."""
        draw = Random(f"{self._setup.seed} {trial.number} {param_name}")
        return self.space.by_name[param_name].domain.draw(draw)


class Proposer(PointSampler):
    """A sampler that proposes a point from what has been tried.

    The proposal of a trial is a function of seed, number and history alone, so that it does not
    matter which worker makes it.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._finished: dict[int, Tried] = {}

    @abstractmethod
    def propose(self, tried: Sequence[Tried], draw: Random) -> tuple[Point, dict[str, Any]]:
        """The next point, and marks for the trial to carry."""

    def untried(
        self, tried: Sequence[Tried], draw: Random, make: Callable[[], Point], tries: int = 100
    ) -> Point:
        """A point that no trial had yet; any after so many attempts."""
        keys = {one.key for one in tried}
        point = make()
        for _ in range(tries):
            if key_of(point) not in keys:
                break
            point = make()
        return point

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        tried = self._history(study, trial)
        draw = Random(f"{self._setup.seed} {trial.number}")
        point, marks = self.propose(tried, draw)
        for name, value in marks.items():
            # The way in which Optuna's own samplers keep what belongs to a trial.
            study._storage.set_trial_system_attr(trial._trial_id, name, value)
        return point

    def _history(self, study: Study, current: FrozenTrial) -> list[Tried]:
        sign = -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0
        found = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number == current.number or trial.state == TrialState.WAITING:
                continue
            known = self._finished.get(trial.number)
            if known is None:
                known = self._tried(trial, sign)
                if trial.state.is_finished():
                    self._finished[trial.number] = known
            found.append(known)
        return found

    def _tried(self, trial: FrozenTrial, sign: float) -> Tried:
        loss: float | None = None
        excess = 0.0
        if trial.state == TrialState.COMPLETE:
            loss = sign * trial.values[0]
            if self._setup.constraints is not None:
                excess = sum(max(0.0, part) for part in self._setup.constraints(trial))
        elif trial.state.is_finished():
            loss = math.inf
        point = dict(trial.params)
        return Tried(point, key_of(point), loss, excess, trial.system_attrs)
