"""What is refused before the first trial: whatever trials or the account could not do."""

from __future__ import annotations

from pathlib import Path

from darts.config import ConfigError, TuneConfig, one_of
from darts.hpo.corners import Corners
from darts.hpo.search_space import SearchSpace
from darts.hpo.study import Plan, example_of, fixed_overrides, merged
from darts.hpo.tools import TrialTools, knows_truth, trial_config
from darts.searching.expected_cost import MEASURES
from darts.strategies import Setup
from darts.strategies.judge import Candidate
from darts.tasks import Task


def check_study(config: TuneConfig) -> None:
    """Refuse, before any data is read, what no trial could be evaluated with.

    Raises:
        ConfigError: in one line.
    """
    space = SearchSpace(config.parameters)
    if config.budget.trials is None and config.budget.hours is None:
        raise ConfigError("budget.trials and budget.hours are both null: when shall it end?")
    _check_evaluation(config, space)
    for name, point in space.extremes():
        example = example_of(config, space, point, name)
    _check_scores(config, example.task)
    setup = Setup(
        space.parameters,
        objectives=1 + len(config.costs),
        constraints=(lambda trial: []) if config.limits else None,
    )
    config.strategy.check(setup)
    if config.pruning.name != "none" and (config.costs or not config.evaluation.trains):
        reason = "costs" if config.costs else f"evaluation={config.evaluation.name}"
        raise ConfigError(f"pruning={config.pruning.name} and {reason} exclude each other")
    if config.account.corners:
        _check_corners(config, space)


def _check_evaluation(config: TuneConfig, space: SearchSpace) -> None:
    evaluation = config.evaluation
    if evaluation.needs_genotype:
        others = space.groups().get("hyperparameters")
        if space.architecture is None or others:
            more = f", not {others[0]}" if others else ""
            raise ConfigError(
                f"evaluation={evaluation.name} knows architectures: "
                f"parameters must be {{genotype: {{space: ...}}}}{more}"
            )
        if evaluation.space not in (None, space.architecture.name):
            raise ConfigError(
                f"evaluation={evaluation.name} knows space={evaluation.space}, not "
                f"parameters.genotype.space={space.architecture.name}"
            )
    if evaluation.name == "table" and config.benchmark.table is None:
        raise ConfigError("evaluation=table needs benchmark.table=FILE")
    if config.benchmark.table is not None and not knows_truth(config, space.architecture):
        raise ConfigError(
            "benchmark.table tells of architectures: parameters must have "
            "{genotype: {space: nas201}}"
        )


def _check_scores(config: TuneConfig, task: Task) -> None:
    """The metric by the task's registry, and costs that somebody can tell."""
    evaluation = config.evaluation
    one_of("metric", config.metric, task.metrics)
    if evaluation.metrics is not None and config.metric not in evaluation.metrics:
        raise ConfigError(
            f"evaluation={evaluation.name} tells {', '.join(evaluation.metrics)}, not "
            f"metric={config.metric}"
        )
    measured = list(MEASURES) if config.target == "retrain" else []
    known = list(dict.fromkeys([*evaluation.costs, *measured]))
    for key, names in (("costs", config.costs), ("limits", config.limits)):
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{key}: {name!r} is unknown with evaluation={evaluation.name} "
                    f"target={config.target}; choose from {', '.join(known) or 'none'}"
                )
    for name, limit in config.limits.items():
        if not limit > 0:
            raise ConfigError(f"limits.{name}={limit} must be above 0")


def _check_corners(config: TuneConfig, space: SearchSpace) -> None:
    """The default architecture and the default hyperparameters must be trainable."""
    if not config.evaluation.trains:
        raise ConfigError(
            f"account.corners trains, evaluation={config.evaluation.name} does not; set it to 0"
        )
    _, best = next(space.extremes())
    corners = Corners(space, best, range(1))
    for point in corners.parameters.points(2):
        overrides = merged([*fixed_overrides(config), *corners.overrides(point)])
        try:
            trial_config(config.target, overrides)
        except ValueError as error:
            raise ConfigError(
                "account.corners compares with the default, so that base must name all of it: "
                f"{error}"
            ) from None


def try_out(plan: Plan) -> None:
    """See that a table or a supernet knows what it will be asked for, by one architecture.

    Raises:
        ValueError: in one line, when it does not.
    """
    tools, evaluation = TrialTools(plan.config), plan.config.evaluation
    _, point = next(plan.space.extremes())
    genotype = plan.space.genotype(point)
    if knows_truth(plan.config, plan.space.architecture):
        tools.truth(genotype)
    if not evaluation.trains:
        evaluation(Candidate(plan.overrides(point), genotype, Path(), _unwatched), tools)


def _unwatched(epoch: int, scores: object) -> None:
    """Nobody looks at the epochs."""
