"""Jobs, their outcomes, the futures of outcomes, and what the files of a run say about its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeAlias

from darts.config import ConfigError
from darts.reading import JsonObject, read_json_object
from darts.tracking.optional import optional
from darts.training.run import DIVERGED

MAX_RESTARTS = 3  # of a job that loses its worker, until the job has failed


@dataclass(frozen=True)
class Job:
    """A run to start or to resume."""

    name: str  # unique, for messages
    command: str  # retrain or search
    directory: Path  # the output of the run goes to a log file next to it
    overrides: tuple[str, ...]  # of a run that has not started yet
    # With which an existing run is resumed, for example ("epochs=20",). A complete run is resumed
    # only if it trains longer with them.
    changes: tuple[str, ...] = ()
    threads: int | None = None  # of PyTorch during the run; None for the share of the executor


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    summary: JsonObject | None  # content of its summary.json; None if it failed
    problem: str = ""  # why it failed, in one line


# How an attempt to execute a job ended: None after a signal, an error if the machine failed.
Reply: TypeAlias = "Outcome | OSError | None"


class ExecutorError(ConfigError):
    """An executor cannot execute any job, for example because its workers do not start.

    The job whose future raises it is not the cause, so the command ends.
    """


class RunFailed(ValueError):
    """A run ended without a summary, or its results cannot be used; the message says why."""


class Future(futures.Future[Outcome]):
    """The outcome of a job that waits, runs or has ended.

    ``result()`` raises ``CancelledError`` if the job was cancelled, ``ExecutorError`` if no job can
    be executed, and ``WriteError`` if the machine failed, for example because the disk is full.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        # For the base class, the job runs from now on: its `cancel` knows no job that stops later.
        self.set_running_or_notify_cancel()
        self.job = job
        self.place = ""  # where the job runs or ran last, for reports; empty before its begin
        self.begin = 0.0  # value of time.monotonic() when the job began
        self.losses = 0  # how often the job has lost its worker
        self.stopping = False  # whether ``cancel`` was called
        # Drops the job or asks its run to stop; set by the executor.
        self.stop: Callable[[], object] = lambda: None

    def start(self, place: str, stop: Callable[[], object] = lambda: None) -> None:
        """Record that the job begins or continues; called by the executor."""
        self.begin = self.begin if self.place else time.monotonic()
        self.place, self.stop = place, stop

    def cancel(self) -> bool:
        """Drop a waiting job; ask a run to save a checkpoint and stop, without waiting for it.

        Return False if the job has ended. To continue a stopped run, submit its job again.
        """
        self.stopping = True  # first: an executor sets `stop` and then reads `stopping`
        self.stop()
        return self.cancelled() or not self.done()

    def cancelled(self) -> bool:
        """Return whether the job was dropped, or stopped before its end."""
        return self.done() and isinstance(self.exception(), CancelledError)


class JobLog:
    """Writes a line to ``jobs.jsonl`` for each job that has ended, and counts jobs and joules."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "jobs.jsonl"
        self._open: set[Future] = set()  # jobs that have not ended
        self._done = 0
        self._joules: dict[Path, float] = {}  # by run; later parts of a run include earlier ones
        self._lock = Lock()

    def watch(self, future: Future) -> None:
        """Log a job when it ends."""
        with self._lock:
            self._open.add(future)
        future.add_done_callback(lambda _: self._record(future))

    def _record(self, future: Future) -> None:
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
            with optional(self.file), self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def fields(self) -> dict[str, object]:
        """Return the numbers of jobs, and the energy of those that are complete."""
        with self._lock:
            running = sum(bool(future.place) for future in self._open)
            jobs = f"{running} running, {len(self._open) - running} waiting, {self._done} done"
            return {"jobs": jobs, "joules": sum(self._joules.values())}


class Executor(Protocol):
    """Executes jobs in the order of ``submit``; leaving its context cancels them.

    A job that is submitted after the end of the context is cancelled at once. A class defines
    ``submit`` or ``submit_all``.

    Attributes:
        workers: Number of jobs that run at the same time, at least 1. It may change when the
            context is entered.
        threads: Threads of PyTorch that suit a run while no other one runs.
        log: Logs jobs that have not ended before; None for no log.
    """

    workers: int
    threads: int
    log: JobLog | None = None

    def submit(self, job: Job) -> Future:
        """Start or resume a run when a worker is free; a run that has ended is not repeated."""
        return self.submit_all([job])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        """Submit several jobs, which some executors pass on together."""
        return [self.submit(job) for job in jobs]

    def fields(self) -> dict[str, object]:
        """Return what the console shows of the jobs, by name."""
        return {} if self.log is None else self.log.fields()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None


def is_complete(directory: Path) -> bool:
    """Return whether a run has finished."""
    return (directory / "summary.json").exists()


def read_summary(directory: Path) -> JsonObject:
    """Return the summary of a complete run."""
    return read_json_object(directory / "summary.json")


def read_divergence(directory: Path) -> JsonObject | None:
    """Return the reason (key ``reason``) and the cost of a diverged run, or None for other runs."""
    file = directory / DIVERGED
    if is_complete(directory) or not file.exists():
        return None
    return read_json_object(file)


def log_file(directory: Path) -> Path:
    """Return the file with the output of a run."""
    return directory.with_name(f"{directory.name}.log")
