"""Execution of jobs by Slurm, through submitit.

References:
    The documentation of submitit: executors, job arrays and signals.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import submitit

from darts.config import ConfigError
from darts.config.executors import SlurmConfig
from darts.reading import one_line
from darts.running.execution import earlier_outcome, execute
from darts.running.jobs import Executor, Future, Job, Outcome
from darts.running.pool import MAX_RESTARTS
from darts.training.interrupt import Interrupted

_POLL = 0.5  # seconds between two looks at the jobs


def run_alone(job: Job) -> Outcome | None:
    """Execute a job in the process of a job of Slurm; return None if a signal stopped it."""
    try:
        return execute(job)
    except Interrupted:
        return None


class SlurmExecutor(Executor):
    """Executes each job as a job of Slurm; jobs that are submitted together are a job array.

    A job that ends without an outcome, for example because its node is lost or its time is over, is
    submitted again, at most ``MAX_RESTARTS`` times, and continues from its last checkpoint.

    Args:
        config: Options of the jobs.
        workers: Number of jobs of an array that run at the same time.
    """

    def __init__(self, config: SlurmConfig, workers: int) -> None:
        self.workers, self.threads = workers, config.cores
        parameters = {
            "timeout_min": config.minutes,
            "cpus_per_task": config.cores,
            "gpus_per_node": int(config.gpus) or None,
            "mem_gb": config.memory_gb,
            "slurm_partition": config.partition,
            "slurm_array_parallelism": workers,
            **config.options,
        }
        try:
            self._cluster = submitit.AutoExecutor(config.folder, cluster=config.cluster)
            known = {name: value for name, value in parameters.items() if value is not None}
            self._cluster.update_parameters(**known)
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise ConfigError(f"executor=slurm: {one_line(error)}") from None
        self._running: dict[Future, Any] = {}  # handles of submitit
        self._restarts: dict[Future, int] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def submit(self, job: Job) -> Future:
        """See ``Executor``."""
        return self.submit_all([job])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        """See ``Executor``."""
        futures = [Future(replace(job, threads=job.threads or self.threads)) for job in jobs]
        waiting = []
        for future in futures:
            outcome = earlier_outcome(future.job)
            if outcome is None:
                waiting.append(future)
            else:
                future.set_result(outcome)
        self._send(waiting)
        return futures

    def _send(self, futures: Sequence[Future]) -> None:
        """Submit jobs as an array."""
        with self._lock:
            with self._cluster.batch():
                handles = [self._cluster.submit(run_alone, future.job) for future in futures]
            for future, handle in zip(futures, handles, strict=True):
                future.place, future.stop = f"job {handle.job_id}", handle.cancel
                self._running[future] = handle
                if future.stopping:
                    handle.cancel()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL):
            with self._lock:
                done = [f for f, handle in self._running.items() if handle.done()]
                handles = [self._running.pop(future) for future in done]
            again = [f for f, handle in zip(done, handles, strict=True) if not _settle(f, handle)]
            lost = [future for future in again if not self._may_restart(future)]
            for future in lost:
                future.set_result(Outcome(None, f"its jobs ended {MAX_RESTARTS + 1} times"))
            if restarted := [future for future in again if future not in lost]:
                self._send(restarted)

    def _may_restart(self, future: Future) -> bool:
        self._restarts[future] = self._restarts.get(future, 0) + 1
        return self._restarts[future] <= MAX_RESTARTS

    def __enter__(self) -> SlurmExecutor:
        self._watcher.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Cancel all jobs, and wait until they have ended."""
        with self._lock:
            futures = list(self._running)
        for future in futures:
            future.cancel()
        for future in futures:
            future.exception()
        self._ended.set()
        self._watcher.join()


def _settle(future: Future, handle: Any) -> bool:
    """Set the outcome of a job that has ended; return False if it has none."""
    try:
        outcome = handle.result()
    except submitit.core.utils.UncompletedJobError:
        outcome = None
    except submitit.core.utils.FailedJobError as error:
        future.set_exception(ValueError(one_line(error)))
        return True
    outcome = outcome or earlier_outcome(future.job)
    if outcome is not None:
        future.set_result(outcome)
    elif future.stopping:
        future.set_exception(CancelledError())
    return future.done()
