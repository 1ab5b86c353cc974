"""Base classes of samplers that propose whole points, and the positions of trials in a study."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from darts.spaces.parameters import Point, Value, point_key
from darts.strategies.strategy import Setup, distribution

RETRIED = "failed_trial"  # system attribute: number of the lost trial that a trial repeats
SURPLUS = "surplus"  # user attribute of a trial that exceeds the budget and is not evaluated


def trial_position(number: int, trials: Sequence[FrozenTrial]) -> int:
    """Return the position of a trial among those that count toward the budget.

    Repeats of lost trials and surplus trials do not count. When a trial starts, all trials with
    smaller numbers exist, whichever worker created them, so every worker computes the same
    position.
    """
    return sum(
        trial.number < number
        and RETRIED not in trial.system_attrs
        and SURPLUS not in trial.user_attrs
        for trial in trials
    )


@dataclass(frozen=True)
class Observation:
    """The point and the result of a trial.

    Attributes:
        key: Hashable form of the point; equal for equal points.
        loss: Lower is better; infinite for a failed or pruned trial, None for a running one.
        excess: Sum of the relative excesses over the limits; 0 within the limits.
        attributes: Attributes that the sampler attached to the trial.
    """

    point: Point
    key: Hashable
    loss: float | None
    excess: float = 0.0
    attributes: Mapping[str, object] = field(default_factory=dict)

    @property
    def sort_key(self) -> tuple[float, float]:
        """Key that sorts the best trial first; trials within the limits precede all others."""
        return self.excess, math.inf if self.loss is None else self.loss


class PointSampler(BaseSampler):
    """Sampler of whole points, conditions included.

    Optuna's own samplers propose each conditional parameter separately.
    """

    def __init__(self, setup: Setup) -> None:
        self.space = setup.space
        self._setup = setup
        self._distributions = {p.name: distribution(p.domain) for p in setup.space}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: object
    ) -> Value:
        """Draw a parameter that a repeated trial lacks because its worker died while sampling."""
        random = Random(f"{self._setup.seed} {trial.number} {param_name}")
        return self.space.by_name[param_name].domain.draw(random)


class ProposalSampler(PointSampler):
    """Sampler that proposes a point from the history of the study.

    A proposal depends only on the seed, the trial number and the history, so every worker makes
    the same proposal.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._finished: dict[int, Observation] = {}

    @abstractmethod
    def propose(
        self, history: Sequence[Observation], random: Random
    ) -> tuple[Point, dict[str, int]]:
        """Return the next point and the attributes to attach to its trial.

        Args:
            history: All other trials that have started, by trial number.
            random: Generator for all random choices.
        """

    def new_point(self, history: Sequence[Observation], draw: Callable[[], Point]) -> Point:
        """Draw a point, up to 100 times again if it is in the history; it may still be in it."""
        keys = {observation.key for observation in history}
        for _ in range(101):
            point = draw()
            if point_key(point) not in keys:
                break
        return point

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Point:
        random = Random(f"{self._setup.seed} {trial.number}")
        point, attributes = self.propose(self._history(study, trial), random)
        for name, value in attributes.items():
            # Optuna's own samplers store their attributes in this way, too.
            study._storage.set_trial_system_attr(trial._trial_id, name, value)
        return point

    def _history(self, study: Study, current: FrozenTrial) -> list[Observation]:
        """Return all other trials that have started, by trial number."""
        sign = -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0
        history = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number == current.number or trial.state == TrialState.WAITING:
                continue
            observation = self._finished.get(trial.number) or self._observe(trial, sign)
            if trial.state.is_finished():
                self._finished[trial.number] = observation
            history.append(observation)
        return history

    def _observe(self, trial: FrozenTrial, sign: float) -> Observation:
        loss: float | None = None
        excess = 0.0
        if trial.state == TrialState.COMPLETE:
            loss = sign * trial.values[0]
            if self._setup.constraints is not None:
                excess = sum(max(0.0, value) for value in self._setup.constraints(trial))
        elif trial.state.is_finished():
            loss = math.inf
        point = dict(trial.params)
        return Observation(point, point_key(point), loss, excess, trial.system_attrs)
