"""Execution of jobs by Slurm, through submitit.

References:
    The documentation of submitit: executors, job arrays and signals.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError

from darts.config import ConfigError
from darts.config.many_runs import SlurmConfig
from darts.reading import one_line
from darts.running.execution import attempt, earlier_outcome
from darts.running.jobs import ExecutorError, Future, Job, Outcome, Reply
from darts.running.pool import QueueExecutor
from darts.running.processes import ctrl_c_blocked

_POLL = 0.5  # seconds between two queries of the jobs
_KILL_WAIT = 30.0  # seconds until Slurm kills a cancelled job, by default


def run_alone(job: Job) -> Reply:
    """Execute a job in the process of a job of Slurm."""
    # Slurm sends SIGUSR2 shortly before the time limit. The handler of submitit raises an error.
    signal.signal(signal.SIGUSR2, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    return attempt(job)


class SlurmExecutor(QueueExecutor):
    """Executes each job as a job of Slurm; jobs that are submitted together are a job array.

    A job that is lost, for example with its node, is submitted again, at most ``MAX_RESTARTS``
    times, and continues from its last checkpoint. A job that a signal has stopped, for example
    before its time limit, is submitted again without a limit, because each part makes progress.

    Args:
        config: Options of the jobs.
        workers: Number of jobs of an array that run at the same time.
    """

    def __init__(self, config: SlurmConfig, workers: int) -> None:
        super().__init__(workers, config.cores)
        self._config = config
        self._is_local = config.cluster == "local"
        self._cluster: Any = None  # executor of submitit
        # Handles of submitit, and when cancelled jobs are killed; used by `_watch` only.
        self._running: dict[Future, Any] = {}
        self._ends: dict[Future, float] = {}
        self._aborting = False  # whether nobody waits for the ends of jobs any more
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        """Submit jobs, cancel them and collect their replies, until the context and all jobs end.

        No other thread calls submitit. Its processes ignore Ctrl-C, because this thread stops them.
        """
        with ctrl_c_blocked():
            while self._running or not self._ending:
                time.sleep(_POLL)
                aborting = self._aborting  # read before `_ending`, which is set first
                for batch in self._next():
                    self._send(batch)
                stopping = [f for f in self._running if f.stopping or self._ending]
                for future in stopping:
                    self._ends.setdefault(future, time.monotonic() + _KILL_WAIT)
                # Again and again, because a process that has just started may miss a signal.
                self._cancel([self._running[future] for future in stopping])
                self._collect(ask=bool(stopping), abort=aborting)

    def _next(self) -> list[list[Future]]:
        """Return batches of jobs to submit now; Slurm itself limits how many of its jobs run."""
        free = self.workers - len(self._running) if self._is_local else sys.maxsize
        with self._changed:
            jobs = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        # If one of several processes does not start, submitit returns no handles of the others.
        return [[job] for job in jobs] if self._is_local or not jobs else [jobs]

    def _send(self, futures: Sequence[Future]) -> None:
        """Submit jobs as an array."""
        # A command that is a job itself passes no settings on to its jobs.
        is_job = "SLURM_JOB_ID" in os.environ
        outside = submitit.helpers.clean_env() if is_job else nullcontext()
        try:
            # The process of a job does not know the number of its cores.
            jobs = [replace(each.job, threads=each.job.threads or self.threads) for each in futures]
            with outside, self._cluster.batch():
                handles = [self._cluster.submit(run_alone, job) for job in jobs]
        except Exception as error:  # of sbatch or the file system
            text = f"executor=slurm: cannot submit jobs: {one_line(error)}"
            for future in futures:
                self._settle(future, ExecutorError(f"{text}; squeue shows if some were submitted"))
        else:
            for future, handle in zip(futures, handles, strict=True):
                future.start(f"job {handle.job_id}")
                self._running[future] = handle

    def _cancel(self, handles: Sequence[Any]) -> None:
        """Send SIGTERM to jobs."""
        if self._is_local:
            for handle in handles:
                handle._process.terminate()  # `handle.cancel` kills the run after a second
        elif handles:
            with suppress(OSError):  # `_collect` reports that Slurm is unavailable
                words = ["scancel", *(handle.job_id for handle in handles)]
                subprocess.run(words, check=False, capture_output=True)  # some may have ended

    def _collect(self, *, ask: bool, abort: bool) -> None:
        """Set the results of jobs that have ended; those without an outcome wait again.

        ``ask`` makes Slurm report the states of the jobs at once, instead of up to ten minutes
        later. ``abort`` treats all jobs as ended.
        """
        for future, handle in list(self._running.items()):
            reply: Outcome | BaseException | None
            try:
                if not (abort or handle.done(force_check=ask)):
                    ask = False  # one answer is about all jobs
                    # Without accounting, Slurm never reports the end of a job that did not begin.
                    is_over = time.monotonic() > self._ends.get(future, math.inf)
                    if not is_over or handle.state != "UNKNOWN":
                        continue
                reply = self._reply(future, handle)
            except Exception as error:  # of sacct or the file system
                self._cancel([handle])
                reply = ExecutorError(f"executor=slurm: {future.place}: {one_line(error)}")
            del self._running[future]
            self._settle(future, reply)

    def _reply(self, future: Future, handle: Any) -> Reply:
        """Return the reply of a job that has ended."""
        outcome = earlier_outcome(future.job)
        if outcome is not None or future.stopping or self._ending:
            return outcome
        try:
            return handle.result()  # type: ignore[no-any-return]
        except FailedJobError:  # for example, because the node lacks this package
            raise RuntimeError(f"it failed; see {handle.paths.stderr}") from None
        except UncompletedJobError:
            return self._reply_of_lost(future, f"its last job was lost: {handle.state}")

    def __enter__(self) -> SlurmExecutor:
        config = self._config
        parameters = {
            "timeout_min": config.minutes,
            "cpus_per_task": config.cores,
            "gpus_per_node": int(config.gpus) or None,
            "mem_gb": config.memory_gb,
            "slurm_partition": config.partition,
            "slurm_array_parallelism": self.workers,
            # Since Slurm 22.05, srun does not use the number of cores of its job.
            "slurm_srun_args": [f"--cpus-per-task={config.cores}"],
            **config.options,
        }
        logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it logs to the console
        # Local jobs are named after processes, whose IDs are used again.
        folder = Path(config.folder) / secrets.token_hex(4)
        try:
            self._cluster = submitit.AutoExecutor(folder, cluster=config.cluster)
            self._cluster.update_parameters(**parameters)
        except Exception as error:  # among others, AssertionError for the type of an option
            raise ConfigError(f"executor=slurm: {one_line(error)}") from None
        self._watcher.start()
        return self

    def _end(self, *, at_once: bool) -> None:
        """Cancel all jobs, and wait until they have ended unless ``at_once``."""
        super()._end(at_once=at_once)
        self._aborting = at_once
        self._watcher.join()
