"""The executor that a configuration asks for, and a record of its jobs and their costs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future as AnyFuture
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from darts.config import ConfigError
from darts.config.many_runs import ExecutorConfig, InlineConfig, RayConfig, SlurmConfig
from darts.running.execution import InlineExecutor
from darts.running.jobs import Executor, Future, Job, Outcome
from darts.running.processes import ProcessExecutor
from darts.tracking.optional import optional
from darts.training.device import visible_gpus

# File in the run directory of a command with a line for each job that has ended.
JOBS = "jobs.jsonl"


class RecordingExecutor(Executor):
    """Executes jobs by another executor, and records them in ``JOBS``."""

    def __init__(self, executor: Executor, directory: Path) -> None:
        self.workers, self.threads = executor.workers, executor.threads
        self.blocks = executor.blocks
        self._executor, self._file = executor, directory / JOBS
        self._open: set[Future] = set()  # jobs that have not ended
        self._done = 0
        self._joules: dict[Path, float] = {}  # by run; later parts of a run include earlier ones
        self._lock = Lock()

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        if self.blocks:  # record each job before the next one begins
            return [self._watch([self._executor.submit(job)])[0] for job in jobs]
        return self._watch(self._executor.submit_all(jobs))

    def _watch(self, futures: list[Future]) -> list[Future]:
        """Record jobs when they end, except those that had ended before."""
        new = [future for future in futures if future.place or not future.done()]
        with self._lock:
            self._open.update(new)
        for future in new:
            future.add_done_callback(partial(self._record, future))
        return futures

    def _record(self, future: Future, _: AnyFuture[Outcome]) -> None:
        seconds = time.monotonic() - future.begin if future.place else 0.0
        row: dict[str, object] = {"job": future.job.name, "command": future.job.command}
        row |= {"place": future.place, "seconds": round(seconds, 2)}
        with self._lock:
            self._open.discard(future)
            self._done += 1
            if future.cancelled():
                row["end"] = "stopped"
            elif error := future.exception():
                row["end"] = f"failed: {error}"
            elif (outcome := future.result()).summary is None:
                row["end"] = f"failed: {outcome.problem}"
            else:
                row["end"] = "complete"
                self._joules[future.job.directory] = float(outcome.summary.get("joules") or 0)
            with optional(self._file), self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def fields(self) -> dict[str, object]:
        """Return the numbers of jobs, and the energy of those that are complete."""
        with self._lock:
            running = sum(bool(future.place) for future in self._open)
            jobs = f"{running} running, {len(self._open) - running} waiting, {self._done} done"
            return {"jobs": jobs, "joules": sum(self._joules.values())}

    def __enter__(self) -> RecordingExecutor:
        self._executor.__enter__()
        self.workers = self._executor.workers
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._executor.__exit__(kind, error, trace)


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


def make_executor(
    config: ExecutorConfig, workers: int | None, directory: Path
) -> RecordingExecutor:
    """Return an executor for the runs of a command.

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
    return RecordingExecutor(executor, directory)
