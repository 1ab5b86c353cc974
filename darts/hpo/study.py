"""One study: what its workers are told, and what can be asked of its trials."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.config import ConfigError, TuneConfig
from darts.hpo.search_space import SearchSpace
from darts.hpo.store import FAILURE, counted, open_storage
from darts.hpo.tools import trial_config
from darts.spaces.parameters import Choice, Point
from darts.strategies import Setup
from darts.strategies.strategy import distribution

SCORES = "scores"
"""User attribute: the scores and costs of a trial by name."""

ABOUT = "about"
"""The study's attribute: what it varies and steers by, for machines that join it."""

WORKER = "worker"
"""User attribute: which process runs or ran a trial."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a worker needs; it travels to the worker's process as it is.

    Attributes:
        config: of the study.
        directory: of the run.
        name: of the study in its storage.
        space: what is searched for.
        fixed: overrides of every trial.
        epochs: of a trial, for pruning.
        higher_is_better: of the metric.
        trials: how many there shall be, None for as many as the time allows.
        database: another storage than the configuration's.
    """

    config: TuneConfig
    directory: Path
    name: str
    space: Any
    fixed: tuple[str, ...]
    epochs: int
    higher_is_better: bool
    trials: int | None
    database: str | None = None

    @property
    def storage(self) -> str:
        """The database's address."""
        if self.database is not None:
            return self.database
        return self.config.storage or f"sqlite:///{(self.directory / 'study.db').resolve()}"

    @property
    def score(self) -> str:
        """Name of the steering score."""
        return f"valid_{self.config.metric}"

    @property
    def objectives(self) -> list[str]:
        """Names of the scores that are steered by, the metric first."""
        return [self.score, *self.config.costs]

    @property
    def directions(self) -> list[Any]:
        """For each objective."""
        first = "maximize" if self.higher_is_better else "minimize"
        return [first, *("minimize" for _ in self.config.costs)]

    def setup(self, worker: int = 0) -> Setup:
        """What the strategy is given in one of the workers."""
        return Setup(
            self.space.parameters,
            seed=self.config.seed + 1000 * worker,
            objectives=len(self.objectives),
            constraints=self._excess if self.config.limits else None,
        )

    def _excess(self, trial: FrozenTrial) -> list[float]:
        """By how much each limit is exceeded, as a share of it."""
        scores = trial.user_attrs.get(SCORES, {})
        return [scores.get(n, math.inf) / limit - 1 for n, limit in self.config.limits.items()]

    def keeps_limits(self, trial: FrozenTrial) -> bool:
        """Whether a finished trial exceeds no limit."""
        return all(excess <= 0 for excess in self._excess(trial))

    def open(self, worker: int = 0) -> Study:
        """The study, made if it is not there yet.

        Raises:
            ValueError: in one line, when the storage cannot be opened or holds another study by
                that name.
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
                sampler=config.strategy.sampler(self.setup(worker)),
                pruner=config.pruning.pruner(self.epochs),
                load_if_exists=True,
            )
        self._recognize(study)
        return study

    def _recognize(self, study: Study) -> None:
        """Refuse a study of the same name that is about something else."""
        own = {
            "objectives": self.objectives,
            "parameters": {p.name: repr((p.domain, p.when)) for p in self.space.parameters},
            # Where the data lie may be another place on each machine.
            "overrides": sorted(o for o in self.fixed if not o.startswith("dataset.root=")),
            "evaluation": self.config.evaluation.name,
        }
        found = study.user_attrs.get(ABOUT)
        if found is None:
            study.set_user_attr(ABOUT, own)
            return
        for name, value in own.items():
            if found.get(name) != value:
                raise ConfigError(
                    f"the study {self.name!r} in storage={self.storage!r} has other {name}; "
                    "choose another name"
                )

    def overrides(self, point: Point) -> tuple[str, ...]:
        """The whole command line of a trial."""
        return tuple(merged([*self.fixed, *self.space.overrides(point)]))


def suggested(trial: optuna.Trial, space: Any) -> Point:
    """The point of a trial, asked for parameter by parameter from ``space.parameters``."""
    point: Point = {}
    for parameter in space.parameters:
        if not parameter.active(point):
            continue
        name, domain = parameter.name, parameter.domain
        if isinstance(domain, Choice):
            point[name] = trial.suggest_categorical(name, domain.values)
            continue
        limits: Any = distribution(domain)
        ask = trial.suggest_int if domain.whole else trial.suggest_float
        step = {} if limits.log else {"step": limits.step}
        point[name] = ask(name, limits.low, limits.high, log=limits.log, **step)
    return point


def example_of(config: TuneConfig, space: SearchSpace, point: Point, name: str) -> Any:
    """The configuration of a trial at a point.

    Raises:
        ConfigError: in one line that names the parameter the point was made for.
    """
    overrides = merged([*fixed_overrides(config), *space.overrides(point)])
    try:
        return trial_config(config.target, overrides)
    except ValueError as error:
        raise ConfigError(f"a trial with {name}={point[name]} is refused: {error}") from None


def plan_of(config: TuneConfig, directory: Path) -> Plan:
    """The plan of a study that has been checked."""
    space = SearchSpace(config.parameters)
    name, point = next(space.extremes())
    example = example_of(config, space, point, name)
    plan = Plan(
        config=config,
        directory=directory,
        name=config.name,
        space=space,
        fixed=tuple(fixed_overrides(config)),
        epochs=example.epochs,
        higher_is_better=example.task.metrics[config.metric].higher_is_better,
        trials=config.budget.trials,
    )
    most = config.strategy.limit(plan.setup())
    if most is None:
        return plan
    return dataclasses.replace(plan, trials=min(most, plan.trials or most))


def fixed_overrides(config: TuneConfig) -> list[str]:
    """Overrides of every trial: the experiment's, the command line's, and what a trial must do."""
    own = [f"seed={config.seed}", f"metric={config.metric}"]
    own += ["tracking.tensorboard=false", "tracking.pictures=false"]
    if config.target == "retrain":
        own.append("test=false")  # every choice is made on validation data
    given = [*config.base, *config.overrides]
    fixed = {override.partition("=")[0].lstrip("+") for override in given}
    chosen = [o for o in own if o.partition("=")[0] not in fixed - {"test", "metric"}]
    return [*chosen, *(o for o in given if not o.startswith(("test=", "metric=")))]


def merged(overrides: Sequence[str]) -> list[str]:
    """Of several overrides of one key, the last; Hydra refuses two choices of a group."""
    by_key = {override.partition("=")[0].lstrip("+"): override for override in overrides}
    return list(by_key.values())


def finished(trials: Sequence[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Trials that count and have ended, in the order of their numbers."""
    return (trial for trial in counted(trials) if trial.state.is_finished())


def best_of(plan: Plan, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The completed trial with the best score, of those that keep to the limits if any do."""
    complete = [t for t in counted(trials) if t.state == TrialState.COMPLETE]
    sign = 1 if plan.higher_is_better else -1
    return max(
        complete,
        key=lambda t: (plan.keeps_limits(t), sign * t.values[0], -t.number),
        default=None,
    )


def failure_of(trial: FrozenTrial) -> str:
    """Why a trial failed."""
    return str(trial.user_attrs.get(FAILURE, "its worker is gone"))


def scores_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """Scores and costs of a trial, as far as they are known."""
    scores: Mapping[str, Any] = trial.user_attrs.get(SCORES, {})
    return scores
