"""Configuration of the commands that run many searches and retrainings.

The group ``executor`` says where the runs run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from darts.config.commands import GRAPHS, INT8, INT8_GRAPHS
from darts.config.fields import MISSING
from darts.config.options import (
    AnalysisConfig,
    BenchmarkConfig,
    FindBudgetConfig,
    FindPlanConfig,
    LimitConfig,
    PretrainedConfig,
    TrackingConfig,
    TrialLimitConfig,
    TuneBudgetConfig,
)
from darts.registry import choice, number
from darts.strategies import Strategy
from darts.strategies.judges import Judge
from darts.strategies.pruners import Pruner


@dataclass
class ExecutorConfig:
    """Where runs run."""

    name: str = MISSING


@dataclass
class ProcessesConfig(ExecutorConfig):
    """Processes of this machine."""


@dataclass
class InlineConfig(ExecutorConfig):
    """This process, one run after the other; for debugging."""


@dataclass
class ClusterConfig(ExecutorConfig):
    """Workers of a cluster. Each executes one run at a time."""

    cores: int = number(1, low=1, high=1024)  # of a worker, and threads of PyTorch
    gpus: float = number(0, low=0, high=64)  # of a worker
    memory_gb: float | None = number(None, above=0)  # of a worker; null: no limit


@dataclass
class RayConfig(ClusterConfig):
    """A cluster of Ray. With ``gpus`` below 1, several workers share a GPU."""

    address: str | None = None  # HOST:PORT of a running cluster, or auto; null: start Ray here


@dataclass
class SlurmConfig(ClusterConfig):
    """Jobs of Slurm, through submitit."""

    cluster: str = choice("slurm", "slurm", "local")  # local: processes of this machine
    folder: str = "runs/slurm"  # for the files of submitit; all nodes must see it
    partition: str | None = None
    minutes: int = number(1440, low=1)  # time limit of a run, which then continues in a new job
    options: dict[str, Any] = field(default_factory=dict)  # of submitit, for example slurm_qos


EXECUTORS: dict[str, type] = {
    kind.__name__.removesuffix("Config").lower(): kind
    for kind in (InlineConfig, ProcessesConfig, RayConfig, SlurmConfig)
}


Settings: TypeAlias = dict[str, Any]  # accepts any key
EXPORTS = (*GRAPHS, *(name + INT8 for name in INT8_GRAPHS), "safetensors")


def _processes() -> ExecutorConfig:
    """Return the executor of runs that began before there was a choice."""
    return ExecutorConfig("processes")


@dataclass
class ManyRunsConfig:
    """Options of the commands that run searches and retrainings."""

    name: str = "runs"
    # Overrides of all runs, set by experiments. For judge, they choose the data; it ignores them if
    # dataset= or experiment= is given.
    base: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)  # the same, set on the command line
    seed: int = number(0, low=0, high=2**31)  # of all random numbers
    resume: str | None = None  # run directory to continue


@dataclass
class TuneConfig(ManyRunsConfig):
    """``darts tune``"""

    may_change_on_resume: ClassVar[tuple[str, ...]] = (
        "name", "resume", "budget.", "analysis.", "benchmark.", "tracking.", "workers", "heartbeat",
        "retries", "executor.",
    )  # fmt: skip

    name: str = "tune"
    target: str = choice("retrain", "retrain", "search")  # command that a trial runs
    parameters: Settings = field(default_factory=dict)  # what to vary: key -> domain
    metric: str = "accuracy"  # measured on validation data
    costs: list[str] = field(default_factory=list)  # minimized in addition to the metric
    limit: TrialLimitConfig = field(default_factory=TrialLimitConfig)
    strategy: Strategy = MISSING  # proposes the trials
    pruner: Pruner = MISSING
    judge: Judge = MISSING
    budget: TuneBudgetConfig = field(default_factory=TuneBudgetConfig)
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    storage: str | None = None  # URL of a database; null: a file in the run directory
    heartbeat: int = number(20, low=1, high=3600)  # seconds between heartbeats of a trial
    retries: int = number(1, low=0, high=100)  # of a trial without heartbeats
    executor: ExecutorConfig = field(default_factory=_processes)  # where the trials run
    workers: int = number(1, low=1, high=1024)  # trials at the same time, if the judge trains
    # The proposal of trial n uses the results of the trials up to n - window only; null: number of
    # workers.
    window: int | None = number(None, low=1, high=1024)


@dataclass
class JudgeConfig(ManyRunsConfig):
    """``darts judge``"""

    may_change_on_resume: ClassVar[tuple[str, ...]] = ("name", "resume")

    name: str = "judge"
    judge: Judge = MISSING  # scores the architectures
    genotypes: str | None = None  # file with architectures; null: random ones
    truth: str | None = None  # column of that file with the true scores, larger is better
    # Number of random architectures, or largest number of architectures from the file.
    architectures: int = number(1000, low=2, high=100_000)
    # Number of architectures whose truth decides how the judge weighs its scores; 0: equal weights.
    calibration: int = number(0, low=0, high=10_000)
    metric: str | None = None  # on validation data; null: the metric of the task
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)


@dataclass
class CompareConfig(ManyRunsConfig):
    """``darts compare``"""

    may_change_on_resume: ClassVar[tuple[str, ...]] = (
        "name", "resume", "workers", "draws", "executor.",
    )  # fmt: skip

    name: str = "compare"
    method_name: str = "darts_v1"  # file of conf/method; on the command line: method=
    # Methods to compare with.
    baselines: list[str] = field(default_factory=lambda: ["random", "random_sharing"])
    searches: int = number(7, low=1, high=1000)  # runs of each method, with consecutive seeds
    retrainings: int = number(2, low=1, high=100)  # runs of each genotype
    metric: str = "accuracy"  # choices use validation data, results the test split
    search: Settings = field(default_factory=dict)  # keys of all searches
    retrain: Settings = field(default_factory=dict)  # keys of all retrainings
    settings: Settings = field(default_factory=dict)  # method -> keys of its searches
    draws: int = number(10_000, low=1000, high=10_000_000)  # resamples of the bootstrap
    executor: ExecutorConfig = field(default_factory=_processes)  # where the runs run
    workers: int = number(1, low=1, high=1024)  # runs at the same time


@dataclass
class FindConfig(ManyRunsConfig):
    """``darts find``"""

    may_change_on_resume: ClassVar[tuple[str, ...]] = (
        "name", "resume", "budget.", "benchmark.", "export", "workers", "executor.",
    )  # fmt: skip

    name: str = "find"
    metric: str | None = None  # on validation data; null: the metric of the task
    budget: FindBudgetConfig = field(default_factory=FindBudgetConfig)
    limit: LimitConfig = field(default_factory=LimitConfig)
    plan: FindPlanConfig = field(default_factory=FindPlanConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    # Table whose accuracies the summary reports; it decides nothing.
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    # Largest number of networks whose predictions are averaged, each with all its runs; 1: a single
    # network.
    ensemble: int = number(1, low=1, high=100)
    # Whether the trees that darts find trains on tables may be the result, or part of an ensemble.
    result: str = choice("network", "network", "any")
    # Format of the file to export the network to, see darts export, with an int8 variant of each
    # graph; none: no file.
    export: str = choice("none", "none", *EXPORTS)
    executor: ExecutorConfig = field(default_factory=_processes)  # where the networks train
    # Networks that train at the same time; null: on this machine, one per GPU, or two on a
    # processor with two or more cores; on a cluster of Ray, as many as fit.
    workers: int | None = number(None, low=1, high=1024)
