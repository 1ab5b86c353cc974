"""Runs of a comparison in worker processes. A resumed comparison does not repeat complete runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path

from darts.reading import JsonObject
from darts.running.jobs import Executor, Job, RunFailed, log_file


class RunLauncher:
    """Starts or resumes runs, and waits for their ends. Several threads may call it.

    Entering the context starts the executor. Leaving it stops all runs, and no run starts any more.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._lock, self._stopped = threading.Lock(), False
        self.sources: set[str] = set()  # of the joules of all runs so far

    def __enter__(self) -> None:
        self.executor.__enter__()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._lock:
            self._stopped = True
        self.executor.__exit__(kind, error, trace)

    def __call__(self, command: str, directory: Path, overrides: Sequence[str]) -> JsonObject:
        """Execute a run unless it is complete, and return its summary.

        A resumed run keeps its own overrides. Raise RunFailed if the run ended with an error, and
        CancelledError if it was stopped, or would have started after the end of the context.
        """
        with self._lock:
            if self._stopped:
                raise CancelledError
            future = self.executor.submit(Job(str(directory), command, directory, (*overrides,)))
        try:
            outcome = future.result()
        except ValueError as error:  # its worker did not start
            raise RunFailed(str(error)) from None
        if outcome.summary is None:
            raise RunFailed(f"{outcome.problem} (see {log_file(directory)})")
        self.sources.add(str(outcome.summary.get("joules_source")))
        return outcome.summary
