"""Checks before the first trial: the configuration of a study, and its judge."""

from __future__ import annotations

from pathlib import Path

from darts.config import BenchmarkConfig, ConfigError, TuneConfig, one_of
from darts.config.many_runs import ClusterConfig, InlineConfig
from darts.hpo.search_space import HYPERPARAMETERS, SearchSpace
from darts.hpo.study import StudyPlan, example_config, make_plan
from darts.hpo.trial_tools import TrialTools
from darts.judging.benchmark import TABLES, Benchmark
from darts.judging.limits.costs import CostMeter, require_space
from darts.recipes.commands import TrialConfig
from darts.running.executors import check_executor
from darts.searching.expected_cost import MEASURES
from darts.strategies.judges import Judge, TrialSpec


def check_config(config: TuneConfig) -> None:
    """Raise ``ConfigError`` if trials or analysis cannot run; no data is read."""
    space = SearchSpace(config.parameters, config.overrides)
    on_cluster = isinstance(config.executor, ClusterConfig)
    if not config.judge.trains and (config.workers > 1 or on_cluster):
        key = f"executor={config.executor.name}" if on_cluster else f"workers={config.workers}"
        raise ConfigError(
            f"judge={config.judge.name} does not train, so it scores one trial at a time in this "
            f"process; leave out {key}"
        )
    check_executor(config.executor, config.workers)
    if config.budget.trials is None and config.budget.hours is None:
        raise ConfigError("budget.trials and budget.hours are both null; set at least one")
    _check_judge(config, space)
    for name, point in space.extremes():
        example = example_config(config, space, point, name)
        check_trial_limits(config, space, example)
        one_of("metric", config.metric, example.task.metrics)
        check_judge_settings(config.judge, config.benchmark, config.metric)
    _check_costs(config)
    config.strategy.check(make_plan(config, Path()).setup())
    if config.pruner.name != "none":
        _check_pruner(config)


def check_trial_limits(config: TuneConfig, varied: SearchSpace, example: TrialConfig) -> None:
    """Raise ConfigError if the limits do not fit the networks of a trial."""
    meter, space = CostMeter.from_config(config.limit), example.space
    if config.target == "search":
        return  # the searches check their limits themselves
    if meter.model is None:
        return
    require_space("limit.device", meter.model, space)
    for parameter in varied.parameters:
        if parameter.name.startswith("space."):
            raise ConfigError(
                f"limit.device={config.limit.device}: a latency model is for networks of one size; "
                f"leave parameters.{parameter.name} out"
            )


def _check_judge(config: TuneConfig, space: SearchSpace) -> None:
    judge = config.judge
    if judge.needs_genotype:
        others = space.groups().get(HYPERPARAMETERS)
        if space.architecture is None or others:
            excluded = f", without {others[0]}" if others else ""
            raise ConfigError(
                f"judge={judge.name} scores architectures only; "
                f"set parameters={{genotype: {{space: ...}}}}{excluded}"
            )
    if not judge.absolute:
        raise ConfigError(
            f"judge={judge.name} compares architectures with each other and gives a trial no "
            "metric; use it with darts judge"
        )
    covered = space.architecture is not None and space.architecture.benchmark is not None
    if config.benchmark.table is not None and not covered:
        pairs = (", ".join(f"{k}: {v}" for k, v in own.items()) for own in TABLES.values())
        spaces = " or ".join(f"{{{text}}}" for text in pairs)
        raise ConfigError(f"benchmark.table needs parameters={{genotype: {spaces}}}")


def check_judge_settings(judge: Judge, benchmark: BenchmarkConfig, metric: str) -> None:
    """Raise ConfigError if a judge lacks its table or the metric."""
    if judge.name == "table" and benchmark.table is None:
        raise ConfigError("judge=table needs benchmark.table=FILE")
    if judge.metrics is not None and metric not in judge.metrics:
        raise ConfigError(
            f"judge={judge.name} returns {', '.join(judge.metrics)}, not metric={metric}"
        )


def _check_costs(config: TuneConfig) -> None:
    judge = config.judge
    measured = [*MEASURES, *config.limit.values()] if config.target == "retrain" else []
    available = list(dict.fromkeys([*judge.costs, *measured]))
    for name in (name for name in config.costs if name not in available):
        if config.target == "retrain" and name in config.limit.network:
            raise ConfigError(f"costs: {name!r} is measured only if limit.{name} is set")
        raise ConfigError(
            f"costs: {name!r} is unknown with judge={judge.name} target={config.target}; "
            f"choose from {', '.join(available) or 'none'}"
        )
    for name, limit in config.limit.measured().items():
        if name not in judge.costs:
            raise ConfigError(
                f"limit.{name}={limit:g}: judge={judge.name} does not train; leave it out"
            )


def _check_pruner(config: TuneConfig) -> None:
    conflicts = {
        "costs": bool(config.costs),
        f"judge={config.judge.name}, which does not train": not config.judge.trains,
        "executor=inline, which shows the epochs of a run after its end": isinstance(
            config.executor, InlineConfig
        ),
    }
    for name, holds in conflicts.items():
        if holds:
            raise ConfigError(f"pruner={config.pruner.name} cannot be combined with {name}")


def check_judge(plan: StudyPlan) -> None:
    """Score one architecture; raise ``ValueError`` if the table or the supernet is unusable."""
    tools, judge = TrialTools(plan.config.target, plan.config.benchmark), plan.config.judge
    _, point = next(plan.space.extremes())
    if plan.space.architecture is not None:
        Benchmark.from_config(plan.config.benchmark, plan.space.architecture)
    if not judge.trains:
        judge(TrialSpec(plan.overrides(point), plan.space.genotype(point), Path()), tools)
