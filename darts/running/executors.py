"""The executor that a configuration asks for."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from darts.config import ConfigError
from darts.config.many_runs import ExecutorConfig, InlineConfig, RayConfig, SlurmConfig
from darts.running.execution import InlineExecutor
from darts.running.jobs import Executor, JobLog
from darts.running.processes import ProcessExecutor
from darts.training.device import visible_gpus

_LIBRARIES = {"ray": "ray", "slurm": "submitit"}


def check_executor(config: ExecutorConfig, workers: int | None) -> None:
    """Raise ConfigError if an executor lacks its library, or its settings do not fit together."""
    library = _LIBRARIES.get(config.name)
    if library is not None and find_spec(library) is None:
        raise ConfigError(
            f"executor={config.name} needs {library}; install it with: pip install "
            f"'darts-nas[{config.name}]'"
        )
    if isinstance(config, InlineConfig) and (workers or 1) > 1:
        raise ConfigError(
            f"workers={workers}: executor=inline executes one run at a time; set workers=1"
        )
    if isinstance(config, SlurmConfig) and workers is None:
        raise ConfigError("executor=slurm needs workers=N, the number of jobs at the same time")
    if isinstance(config, (RayConfig, SlurmConfig)) and config.gpus % 1:
        shared = " or below 1" if isinstance(config, RayConfig) else " with executor=slurm"
        if config.gpus > 1 or isinstance(config, SlurmConfig):
            raise ConfigError(f"executor.gpus={config.gpus:g}: must be a whole number{shared}")


def make_executor(config: ExecutorConfig, workers: int | None, directory: Path) -> Executor:
    """Return an executor for the runs of a command, which logs its jobs.

    Args:
        config: Where the runs run, checked.
        workers: Number of runs at the same time; None for as many as fit.
        directory: Run directory of the command.
    """
    executor: Executor
    match config:
        case InlineConfig():
            executor = InlineExecutor()
        case RayConfig():  # the modules of clusters import libraries that are optional
            from darts.running.ray_cluster import RayExecutor

            executor = RayExecutor(config, workers, directory)
        case SlurmConfig():
            from darts.running.slurm import SlurmExecutor

            executor = SlurmExecutor(config, workers or 1)
        case _:  # by default one worker per GPU, or two on a processor with two or more cores
            count = workers or len(visible_gpus()) or min(os.cpu_count() or 1, 2)
            executor = ProcessExecutor(count, directory / "workers")
    executor.log = JobLog(directory)
    return executor
