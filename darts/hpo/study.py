"""The plan of a study: everything that its workers need, and the choice of the best trial."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.distributions import IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from darts.config import ConfigError, TuneConfig
from darts.hpo.commands import TrialConfig, merge_overrides, trial_config
from darts.hpo.search_space import SearchSpace, TrialSpace
from darts.hpo.store import open_storage
from darts.hpo.trials import complete_trials, trial_scores
from darts.spaces.parameters import Choice, Parameters, Point
from darts.strategies import Setup
from darts.strategies.strategy import numeric_distribution

IDENTITY = "about"
"""Attribute of the study: what it varies and optimizes, checked by machines that join it."""


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """Everything that a worker needs. It is pickled for the worker's process.

    Attributes:
        config: configuration of the study.
        directory: run directory.
        name: name of the study in its database.
        space: search space.
        fixed_overrides: overrides of all trials.
        epochs: epochs of a trial, for the pruner.
        higher_is_better: direction of the metric.
        max_trials: number of trials; None if only time limits it.
        database: URL of a database that replaces ``config.storage``.
    """

    config: TuneConfig
    directory: Path
    name: str
    space: TrialSpace
    fixed_overrides: tuple[str, ...]
    epochs: int
    higher_is_better: bool
    max_trials: int | None
    database: str | None = None

    @property
    def storage(self) -> str:
        """URL of the database."""
        if self.database is not None:
            return self.database
        return self.config.storage or f"sqlite:///{(self.directory / 'study.db').resolve()}"

    @property
    def score(self) -> str:
        """Name of the steering score, for example ``valid_accuracy``."""
        return f"valid_{self.config.metric}"

    @property
    def objectives(self) -> list[str]:
        """Names of the scores to optimize; the steering score is the first."""
        return [self.score, *self.config.costs]

    @property
    def directions(self) -> list[StudyDirection]:
        """Direction of each objective; costs are minimized."""
        metric = StudyDirection.MAXIMIZE if self.higher_is_better else StudyDirection.MINIMIZE
        return [metric, *(StudyDirection.MINIMIZE for _ in self.config.costs)]

    def setup(self, worker: int = 0) -> Setup:
        """Return the problem that the strategy of a worker is configured for."""
        return Setup(
            self.space.parameters,
            seed=self.config.seed + 1000 * worker,
            objectives=len(self.objectives),
            constraints=self._excess if self.config.limits else None,
        )

    def _excess(self, trial: FrozenTrial) -> list[float]:
        """Return the relative excess over each limit."""
        scores = trial_scores(trial)
        return [
            scores.get(name, math.inf) / limit - 1 for name, limit in self.config.limits.items()
        ]

    def is_within_limits(self, trial: FrozenTrial) -> bool:
        """Return whether a finished trial exceeds no limit."""
        return all(excess <= 0 for excess in self._excess(trial))

    def overrides(self, point: Point) -> tuple[str, ...]:
        """Return the whole command line of a trial."""
        return tuple(merge_overrides([*self.fixed_overrides, *self.space.overrides(point)]))

    def open(self, worker: int = 0) -> Study:
        """Open the study, or create it if it does not exist.

        Raises:
            ValueError: in one line, if the database cannot be opened or contains a different
                study of the same name.
        """
        config = self.config
        self.directory.mkdir(parents=True, exist_ok=True)
        storage = open_storage(self.storage, heartbeat=config.heartbeat, retries=config.retries)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study = optuna.create_study(
                storage=storage,
                study_name=self.name,
                directions=self.directions,
                sampler=config.strategy.make_sampler(self.setup(worker)),
                pruner=config.pruner.make_pruner(self.epochs),
                load_if_exists=True,
            )
        self._require_same_study(study)
        return study

    def _require_same_study(self, study: Study) -> None:
        """Refuse an existing study of the same name that varies or optimizes something else."""
        identity = {
            "objectives": self.objectives,
            "parameters": {p.name: repr((p.domain, p.conditions)) for p in self.space.parameters},
            # The data may be in a different folder on each machine.
            "overrides": sorted(
                override
                for override in self.fixed_overrides
                if not override.startswith("dataset.root=")
            ),
            "judge": self.config.judge.name,
        }
        existing = study.user_attrs.get(IDENTITY)
        if existing is None:
            study.set_user_attr(IDENTITY, identity)
            return
        for name, value in identity.items():
            if existing.get(name) != value:
                raise ConfigError(
                    f"the study {self.name!r} in storage={self.storage!r} has different {name}; "
                    "choose another name"
                )


def suggest_point(trial: optuna.Trial, parameters: Parameters) -> Point:
    """Ask Optuna for a value of each active parameter."""
    point: Point = {}
    for parameter in parameters:
        if not parameter.active(point):
            continue
        name, domain = parameter.name, parameter.domain
        if isinstance(domain, Choice):
            point[name] = trial.suggest_categorical(name, domain.values)
            continue
        numbers = numeric_distribution(domain)
        if isinstance(numbers, IntDistribution):
            point[name] = trial.suggest_int(
                name, numbers.low, numbers.high, step=numbers.step, log=numbers.log
            )
        else:
            point[name] = trial.suggest_float(
                name, numbers.low, numbers.high, step=numbers.step, log=numbers.log
            )
    return point


def example_config(config: TuneConfig, space: SearchSpace, point: Point, name: str) -> TrialConfig:
    """Return the configuration of a trial at a point.

    Args:
        config: configuration of the study.
        space: its search space.
        point: the point.
        name: parameter that the point tests.

    Raises:
        ConfigError: in one line that names the parameter and its value.
    """
    overrides = merge_overrides([*fixed_overrides(config), *space.overrides(point)])
    try:
        return trial_config(config.target, overrides)
    except ValueError as error:
        raise ConfigError(f"a trial with {name}={point[name]} is invalid: {error}") from None


def make_plan(config: TuneConfig, directory: Path) -> StudyPlan:
    """Return the plan of a study whose configuration has been checked."""
    space = SearchSpace(config.parameters)
    name, point = next(space.extremes())
    example = example_config(config, space, point, name)
    plan = StudyPlan(
        config=config,
        directory=directory,
        name=config.name,
        space=space,
        fixed_overrides=tuple(fixed_overrides(config)),
        epochs=example.epochs,
        higher_is_better=example.task.metrics[config.metric].higher_is_better,
        max_trials=config.budget.trials,
    )
    distinct_points = config.strategy.max_trials(plan.setup())
    if distinct_points is None:
        return plan
    limit = min(distinct_points, plan.max_trials or distinct_points)
    return dataclasses.replace(plan, max_trials=limit)


def fixed_overrides(config: TuneConfig) -> list[str]:
    """Return the overrides of all trials: those of the study, and those a trial requires."""
    required = [f"seed={config.seed}", f"metric={config.metric}"]
    required += ["tracking.tensorboard=false", "tracking.figures=false"]
    if config.target == "retrain":
        required.append("evaluate_test=false")  # every choice is made on validation data
    user_overrides = [*config.base, *config.overrides]
    # The user may change all of these keys except the ones below.
    changed = {override.partition("=")[0].lstrip("+") for override in user_overrides}
    changed -= {"evaluate_test", "metric"}
    return [
        *(override for override in required if override.partition("=")[0] not in changed),
        *(o for o in user_overrides if not o.startswith(("evaluate_test=", "metric="))),
    ]


def best_trial(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the best score; trials within the limits come first."""
    sign = 1 if plan.higher_is_better else -1
    return max(
        complete_trials(trials),
        key=lambda trial: (plan.is_within_limits(trial), sign * trial.values[0], -trial.number),
        default=None,
    )
