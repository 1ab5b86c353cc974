"""The plan of a study, and the choice of the best trial."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from darts.config import ConfigError, LimitConfig, TuneConfig
from darts.hpo.search_space import SearchSpace
from darts.hpo.store import machine_failure, open_storage
from darts.hpo.trial_tools import PointCosts
from darts.hpo.trials import complete_trials, trial_results, trial_scores
from darts.judging.limits.costs import limit_overrides
from darts.reading import one_line
from darts.recipes.commands import TrialConfig, merge_overrides, trial_config
from darts.spaces.parameters import Point
from darts.strategies import Setup
from darts.typed_values import Misfit, typed

# Names of user attributes of a study.
IDENTITY = "about"  # what the study varies and optimizes
WINDOW = "window"  # see darts.strategies.history

Window: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1024)]


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """What a study varies, optimizes and stores."""

    config: TuneConfig
    directory: Path
    storage: str  # URL of the database
    name: str  # of the study in its database
    space: SearchSpace
    fixed_overrides: tuple[str, ...]  # of all trials
    epochs: int  # of a trial whose point does not set them; the pruner needs them
    higher_is_better: bool
    max_trials: int | None  # None if only budget.hours limits the number

    @property
    def score(self) -> str:
        """Name of the steering score, for example ``valid_accuracy``."""
        return f"valid_{self.config.metric}"

    @property
    def objectives(self) -> list[str]:
        """Names of the scores to optimize; the steering score is the first."""
        return [self.score, *self.config.costs]

    @property
    def waits_for_results(self) -> bool:
        """Whether a trial depends on the results of earlier trials, so it must wait for them."""
        return self.config.strategy.uses_results or self.config.pruner.name != "none"

    def setup(self, window: int = 1) -> Setup:
        """Return what the strategy needs to know about the study."""
        return Setup(
            self.space.parameters,
            seed=self.config.seed,
            window=window,
            objectives=len(self.objectives),
            constraints=self.excess if self._limits else None,
            allows=self.costs.may_propose,
        )

    @property
    def _limits(self) -> dict[str, float]:
        return {**self.costs.limit.values(), **self.config.limit.measured()}

    @cached_property
    def costs(self) -> PointCosts:
        """The costs that are known before training; searches keep their limits themselves."""
        limit = self.config.limit if self.config.target == "retrain" else LimitConfig()
        return PointCosts(limit, self.space, self.overrides)

    def excess(self, trial: FrozenTrial) -> list[float]:
        """Return the relative excess over each limit: 0.1 is 10 % too much, up to 0 is allowed."""
        scores = trial_scores(trial)
        # A pruned trial has only the costs that were known before its training.
        missing = 0.0 if trial.state == TrialState.PRUNED else math.inf
        return [scores.get(name, missing) / limit - 1 for name, limit in self._limits.items()]

    def overrides(self, point: Point) -> tuple[str, ...]:
        """Return all overrides of a trial: the fixed ones and the ones of its point."""
        return tuple(merge_overrides([*self.fixed_overrides, *self.space.overrides(point)]))

    def open(self, *, existing: bool = False) -> Study:
        """Open the study, or create it if it does not exist and need not exist.

        Raise ConfigError if the database has a different study of this name, or cannot be read.
        """
        config = self.config
        self.directory.mkdir(parents=True, exist_ok=True)
        metric = StudyDirection.MAXIMIZE if self.higher_is_better else StudyDirection.MINIMIZE
        storage = open_storage(self.storage, heartbeat=config.heartbeat)
        try:
            if existing:
                study = optuna.load_study(study_name=self.name, storage=storage)
            else:
                study = optuna.create_study(
                    storage=storage,
                    study_name=self.name,
                    directions=[metric, *[StudyDirection.MINIMIZE] * len(config.costs)],
                    load_if_exists=True,
                )
            self._require_same_study(study)
            window = study_window(study)
        except Exception as error:  # the database may be damaged in any way
            storage.remove_session()
            storage.engine.dispose()
            if isinstance(error, ConfigError) or machine_failure(error):
                raise
            reason = "is missing" if existing and isinstance(error, KeyError) else one_line(error)
            raise ConfigError(
                f"the study {self.name!r} in storage={self.storage!r} cannot be read: {reason}"
            ) from None
        study.sampler = config.strategy.make_sampler(self.setup(window))
        return study

    def _require_same_study(self, study: Study) -> None:
        """Store what a new study varies and optimizes; compare it with an existing study."""
        identity = {
            "objectives": self.objectives,
            "parameters": {p.name: repr((p.domain, p.conditions)) for p in self.space.parameters},
            # The data may be in a different folder on each machine.
            "overrides": sorted(
                o for o in self.fixed_overrides if not o.startswith("dataset.root=")
            ),
            "judge": self.config.judge.name,
            "limits": limit_overrides(self.config.limit),
        }
        existing = study.user_attrs.get(IDENTITY)
        if existing is None:
            study.set_user_attr(WINDOW, self.config.window or self.config.workers)
            study.set_user_attr(IDENTITY, identity)
            return
        for name, value in identity.items():
            if existing.get(name) != value:
                raise self._difference(name)
        if self.config.window not in (None, study_window(study)):
            raise self._difference("window")

    def _difference(self, name: str) -> ConfigError:
        return ConfigError(
            f"the study {self.name!r} in storage={self.storage!r} has different {name}; "
            "choose another name"
        )


def study_window(study: Study) -> int:
    """Return the window of a study, see ``darts.strategies.history``."""
    return typed(Window, study.user_attrs.get(WINDOW), "its window")


def read_trials(plan: StudyPlan, study: Study) -> list[FrozenTrial]:
    """Return all trials of a study; raise ConfigError if the database is damaged."""
    try:
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            name = f"trial {trial.number}"
            typed(dict[str, float | str], trial_results(trial), name)
            # Points become overrides of commands. A worker that dies while it stores a point leaves
            # a part of it.
            if not plan.space.parameters.contains(trial.params, partly=True):
                raise Misfit(f"{name} has a point outside the search space")
    except Exception as error:  # a stored value of a wrong type may raise any error
        if machine_failure(error):
            raise
        raise ConfigError(
            f"the trials in storage={plan.storage!r} cannot be read: {one_line(error)}; restore "
            "the database from a backup, or start a new study"
        ) from None
    return trials


def example_config(config: TuneConfig, space: SearchSpace, point: Point, name: str) -> TrialConfig:
    """Return the configuration of a trial at a point.

    If it is invalid, raise ``ConfigError`` with the value of the parameter ``name``.
    """
    overrides = merge_overrides([*fixed_overrides(config), *space.overrides(point)])
    try:
        return trial_config(config.target, overrides)
    except ValueError as error:
        raise ConfigError(f"a trial with {name}={point[name]} is invalid: {error}") from None


def make_plan(config: TuneConfig, directory: Path) -> StudyPlan:
    """Return the plan of a study whose configuration has been checked."""
    space = SearchSpace(config.parameters, config.overrides)
    name, point = next(space.extremes())
    example = example_config(config, space, point, name)
    plan = StudyPlan(
        config=config,
        directory=directory,
        storage=config.storage or f"sqlite:///{(directory / 'study.db').resolve()}",
        name=config.name,
        space=space,
        fixed_overrides=tuple(fixed_overrides(config)),
        epochs=example.epochs,
        higher_is_better=example.task.metrics[config.metric].higher_is_better,
        max_trials=config.budget.trials,
    )
    distinct_points = config.strategy.max_trials(plan.setup())
    limits = [limit for limit in (distinct_points, plan.max_trials) if limit is not None]
    return dataclasses.replace(plan, max_trials=min(limits, default=None))


def fixed_overrides(config: TuneConfig) -> list[str]:
    """Return the overrides that all trials share: defaults, configured and required ones."""
    required = [f"metric={config.metric}"]
    if config.tracking.trackers:
        required.append(f"tracking.trackers=[{','.join(config.tracking.trackers)}]")
    if config.target == "search":
        required += limit_overrides(config.limit)
    return trial_overrides(config.target, config.seed, [*config.base, *config.overrides], required)


def trial_overrides(
    target: str, seed: int, configured: Sequence[str], required: Sequence[str]
) -> list[str]:
    """Return the overrides of the runs of a study or a judge: defaults, configured, required."""
    defaults = [f"seed={seed}", "tracking.tensorboard=false", "tracking.figures=false"]
    # Restarts and raises would hide that a learning rate is too high or too low.
    defaults.append("restarts=0")
    if target == "search":
        defaults.append("arch_optimizer.raises=0")
    else:
        required = [*required, "evaluate_test=false"]  # every choice is made on validation data
    return merge_overrides([*defaults, *configured, *required])


def best_trial(plan: StudyPlan, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the best score; None if no trial is complete.

    If any trial is within the limits, it is the best of these.
    """
    sign = 1 if plan.higher_is_better else -1
    return max(  # the first of equally good trials
        complete_trials(trials),
        key=lambda trial: (max(plan.excess(trial), default=0) <= 0, sign * trial.values[0]),
        default=None,
    )
