"""Jobs, their outcomes, and the futures of outcomes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from darts.reading import FileError, JsonObject
from darts.tracking import read_metrics

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Job:
    """A run to start or to resume.

    Attributes:
        name: Unique name, for messages.
        command: ``retrain`` or ``search``.
        directory: Run directory. The output of the run goes to a log file next to it.
        overrides: Overrides of a run that has not started yet.
        changes: Overrides with which an existing run is resumed, for example ``("epochs=20",)``.
            A complete run is resumed only if it trains longer with them.
        threads: Number of threads of PyTorch during the run; None for the share of the executor.
    """

    name: str
    command: str
    directory: Path
    overrides: tuple[str, ...]
    changes: tuple[str, ...] = ()
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        summary: Content of its ``summary.json``; None if it failed.
        problem: Why it failed, in one line.
    """

    summary: JsonObject | None
    problem: str = ""


class Future(futures.Future[Outcome]):
    """The outcome of a job that waits, runs or has ended.

    ``result()`` raises ``CancelledError`` if the job was cancelled, and ``WriteError`` if the
    machine failed, for example because the disk is full.

    Attributes:
        job: The job.
        stopping: Whether ``cancel`` was called.
        stop: Function that asks the run to stop; set by the executor before the run starts.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.stopping = False
        self.stop: Callable[[], object] = lambda: None

    def progress(self) -> JsonObject | None:
        """Return the last row of ``metrics.jsonl``, or None before the first epoch has ended."""
        try:
            rows = read_metrics(self.job.directory / "metrics.jsonl")
        except (FileError, OSError):
            return None
        return rows[-1] if rows else None

    def cancel(self) -> bool:
        """Drop a waiting job; ask a run to save a checkpoint and stop, without waiting for it.

        To continue a stopped run, submit its job again.

        Returns:
            False if the job has ended.
        """
        self.stopping = True  # first: an executor sets `stop` and then reads `stopping`
        if super().cancel():
            return True
        self.stop()
        return self.cancelled() or not self.done()

    def cancelled(self) -> bool:
        """Return whether the job was dropped, or stopped before its end."""
        stopped = self.stopping and not super().cancelled() and self.done()
        return super().cancelled() or (stopped and isinstance(self.exception(), CancelledError))


class Executor(Protocol):
    """Executes jobs in the order of ``submit``; leaving its context cancels them.

    Attributes:
        workers: Number of jobs that run at the same time, at least 1.
    """

    workers: int

    def submit(self, job: Job) -> Future:
        """Start or resume a run when a worker is free; a run that has ended is not repeated."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None
