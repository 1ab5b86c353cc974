"""The execution of jobs of a race: errors of the executor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darts.finding.budget import Stopwatch
from darts.finding.decisions import Decisions
from darts.finding.execution import Execution
from darts.running.jobs import Executor, ExecutorError, Future, Job, Outcome


class FakeExecutor(Executor):
    """A run that fails, a job that cannot be executed, and one that never ends."""

    workers, threads = 3, 1

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        futures = [Future(job) for job in jobs]
        futures[0].set_result(Outcome(None, "it diverged"))
        futures[1].set_exception(ExecutorError("3 workers in a row died"))
        return futures


def test_an_error_of_the_executor_ends_the_race_at_once(tmp_path: Path) -> None:
    """It does not wait for the other runs, which the end of the executor stops."""
    messages: list[str] = []
    console: Any = SimpleNamespace(warn=messages.append, step=lambda seconds, **fields: None)
    interrupt: Any = SimpleNamespace(received=None)
    stopwatch = Stopwatch(100.0, Decisions(tmp_path / "decisions.json"), clock=lambda: 0.0)
    execution = Execution(FakeExecutor(), console, interrupt, stopwatch)
    jobs = [Job(name, "retrain", tmp_path / name, ()) for name in ("a", "b", "c")]
    with pytest.raises(ExecutorError, match="3 workers"):
        execution.run(jobs)
    assert messages == ["a: it diverged"]
