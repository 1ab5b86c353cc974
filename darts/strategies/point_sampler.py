"""Base classes of samplers and strategies: whole points are a function of seed and history.

Every proposal draws from a new generator that is seeded with the seed of the study and the number
of the trial, and sees only the history that ``darts.strategies.history`` makes visible. It is
therefore the same in every worker, at every speed and after any kill.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from darts.spaces.parameters import Point, Value, point_key
from darts.strategies.history import visible_history
from darts.strategies.strategy import Setup, Strategy, distribution

# Points to propose for a trial until the network of one is within its limits.
MAX_ATTEMPTS = 50

# Numbers that a strategy or pruner attaches to a trial, as system attributes.
Attributes: TypeAlias = Mapping[str, int | float]

# The next point, and the attributes to attach to its trial.
Proposal: TypeAlias = tuple[Point, Attributes]

# States of trials whose costs are known.
MEASURED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Observation:
    """The point and the result of a trial."""

    point: Point
    key: Hashable  # equal for equal points
    loss: float | None  # infinite for a failed or pruned trial, None for a hidden result
    excess: float = 0.0  # sum of the relative excesses over the limits; 0 within the limits
    attributes: Mapping[str, object] = field(default_factory=dict)  # attached by the sampler

    @property
    def sort_key(self) -> tuple[float, float]:
        """Key that sorts the best trial first; trials within the limits precede all others."""
        return self.excess, math.inf if self.loss is None else self.loss


# The trials before the next one, by number.
History: TypeAlias = Sequence[Observation]


# Returns the proposal for a trial of a study, given its visible history, whose length is the number
# of the trial, and how many points have been rejected for this trial.
Propose: TypeAlias = Callable[[Study, Sequence[FrozenTrial], int], Proposal]


class PointSampler(BaseSampler):
    """Sampler that proposes a whole point at once, with its conditional parameters.

    Optuna's own samplers propose each conditional parameter separately.
    """

    def __init__(self, setup: Setup, propose: Propose) -> None:
        self._setup, self._propose = setup, propose
        self._distributions = {p.name: distribution(p.domain) for p in setup.space}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Point:
        visible = visible_history(study.get_trials(deepcopy=False), trial, self._setup.window)
        for attempt in range(MAX_ATTEMPTS):
            point, attributes = self._propose(study, visible, attempt)
            if self._setup.allows(point):
                break
        for name, value in attributes.items():
            # Optuna's own samplers store their attributes in the same way.
            study._storage.set_trial_system_attr(trial._trial_id, name, value)
        return point

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: object
    ) -> Value:
        """Draw the value of a parameter whose proposed value Optuna rejects because of rounding."""
        random = Random(f"{self._setup.seed} {trial.number} {param_name}")
        return self._setup.space.by_name[param_name].domain.draw(random)


def random_of(setup: Setup, number: int, attempt: int) -> Random:
    """Return the generator for a proposal for a trial."""
    return Random(f"{setup.seed} {number}" + (f" again {attempt}" if attempt else ""))


@dataclass
class ProposalStrategy(Strategy):
    """Base class of strategies that propose a point from observations of the visible history."""

    @abstractmethod
    def propose(self, setup: Setup, history: History, random: Random) -> Proposal:
        """Return the next point; all random choices use ``random``."""

    def make_sampler(self, setup: Setup) -> BaseSampler:
        def propose(study: Study, visible: Sequence[FrozenTrial], attempt: int) -> Proposal:
            sign = -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0
            history = [_observe(setup, other, sign) for other in visible]
            return self.propose(setup, history, random_of(setup, len(history), attempt))

        return PointSampler(setup, propose)


def new_point(history: History, draw: Callable[[], Point]) -> Point:
    """Draw a point that is not in the history; after 101 draws, accept one that is."""
    keys = {observation.key for observation in history}
    for _ in range(101):
        point = draw()
        if point_key(point) not in keys:
            break
    return point


def _observe(setup: Setup, trial: FrozenTrial, sign: float) -> Observation:
    loss: float | None = None
    excess = 0.0
    if trial.state == TrialState.COMPLETE:
        loss = sign * trial.values[0]
    elif trial.state.is_finished():
        loss = math.inf
    if setup.constraints is not None and trial.state in MEASURED:
        excess = sum(max(0.0, value) for value in setup.constraints(trial))
    point = dict(trial.params)
    return Observation(point, point_key(point), loss, excess, trial.system_attrs)
