"""The execution of the runs of a comparison: errors and signals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from darts.comparing.baselines import Work, execute_run
from darts.comparing.scheduler import PlannedRun, execute
from darts.running.jobs import Executor, ExecutorError, Future, Job, Outcome
from darts.training.interrupt import Interrupted


class FakeExecutor(Executor):
    """Jobs that end at once, by the names of their directories.

    ``submit`` raises an Interrupted, as after a signal in this process.
    """

    workers, threads = 1, 1

    def __init__(self, ends: dict[str, Outcome | BaseException]) -> None:
        self.ends = ends
        self.is_open = False
        self.jobs: list[str] = []  # names of their directories

    def submit(self, job: Job) -> Future:
        assert self.is_open
        self.jobs.append(job.directory.name)
        end = self.ends[job.directory.name]
        future = Future(job)
        if isinstance(end, Outcome):
            future.set_result(end)
        elif isinstance(end, Interrupted):
            raise end
        else:
            future.set_exception(end)
        return future

    def __enter__(self) -> FakeExecutor:
        self.is_open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.is_open = False


def execute_all(
    executor: FakeExecutor, folder: Path, *, stopping: Callable[[], bool] = lambda: False
) -> tuple[list[str], dict[str, str]]:
    """Execute a run for each end; return the runs that ended, and the failed ones."""
    ended: list[str] = []

    def planned(name: str) -> PlannedRun:
        def work() -> Work:
            summary = yield from execute_run("retrain", folder / name, [])
            return str(summary["score"])

        return PlannedRun(name, work, lambda: False)

    failed = execute(
        [planned(name) for name in executor.ends],
        executor,
        on_end=lambda run, message: ended.append(f"{run.name} {message}"),
        stopping=stopping,
    )
    return ended, failed


def test_an_error_of_the_executor_ends_the_comparison(tmp_path: Path) -> None:
    error = ExecutorError("3 workers in a row died")
    executor = FakeExecutor({"a": error, "b": Outcome({"score": 2})})
    with pytest.raises(ExecutorError, match="3 workers"):
        execute_all(executor, tmp_path)
    assert len(executor.jobs) == 1
    assert not executor.is_open


def test_a_signal_in_this_process_stops_the_comparison(tmp_path: Path) -> None:
    """The run raises; the signal has also reached the comparison."""
    executor = FakeExecutor({"a": Interrupted(143), "b": Outcome({"score": 2})})
    ended, failed = execute_all(executor, tmp_path, stopping=lambda: bool(executor.jobs))
    assert (ended, failed) == ([], {})
    assert len(executor.jobs) == 1


def test_a_failed_run_is_reported_when_it_ends(tmp_path: Path) -> None:
    executor = FakeExecutor({"a": Outcome(None, "no memory"), "b": Outcome({"score": 2})})
    ended, failed = execute_all(executor, tmp_path)
    assert ended == [f"a failed: {failed['a']}", "b 2"]
    assert "no memory" in failed["a"]
