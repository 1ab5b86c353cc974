"""A record of the jobs of a command: how many run, where each one ran, and what they have cost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future as AnyFuture
from functools import partial
from pathlib import Path
from threading import Lock

from darts.running.jobs import Executor, Future, Job, Outcome
from darts.tracking.optional import optional

JOBS = "jobs.jsonl"
"""File in the run directory of a command with a line for each job that has ended."""


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
        """See ``Executor``."""
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
