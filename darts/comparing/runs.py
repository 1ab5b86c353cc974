"""Runs of a comparison. A resumed comparison does not repeat complete runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darts.reading import JsonObject
from darts.running.jobs import Executor, Job, RunFailed, log_file


class RunLauncher:
    """Starts or resumes runs, and waits for their ends. Several threads may call it."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.sources: set[str] = set()  # of the joules of all runs so far

    def __call__(self, command: str, directory: Path, overrides: Sequence[str]) -> JsonObject:
        """Execute a run unless it is complete, and return its summary.

        A resumed run keeps its own overrides. Raise RunFailed if the run ended with an error, and
        CancelledError if it was stopped; see also ``Future``.
        """
        job = Job(str(directory), command, directory, (*overrides,))
        outcome = self.executor.submit(job).result()
        if outcome.summary is None:
            raise RunFailed(f"{outcome.problem} (see {log_file(directory)})")
        self.sources.add(str(outcome.summary.get("joules_source")))
        return outcome.summary
