"""The record of the jobs of a command, and the checks of the settings of executors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from darts.config import ConfigError
from darts.config.executors import InlineConfig, RayConfig, SlurmConfig
from darts.running import execution, executors
from darts.running.execution import InlineExecutor
from darts.running.executors import check_executor
from darts.running.jobs import Executor, Future, Job, Outcome
from darts.running.recording import JOBS, RecordingExecutor
from darts.tracking.metrics import read_metrics
from darts.writing import write_json

DONE = Outcome({"joules": 2.0})


class OpenExecutor(Executor):
    """Jobs whose futures a test completes."""

    workers = threads = 1

    def __init__(self) -> None:
        self.futures: list[Future] = []

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        self.futures = [Future(job) for job in jobs]
        return self.futures

    def __enter__(self) -> OpenExecutor:
        self.workers = 7
        return self


def jobs(folder: Path, *names: str) -> list[Job]:
    return [Job(name, "retrain", folder / name, ()) for name in names]


def rows(folder: Path) -> list[dict[str, object]]:
    return read_metrics(folder / JOBS)


def test_each_job_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds count from the begin of the job, not from its submission."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    inner = OpenExecutor()
    executor = RecordingExecutor(inner, tmp_path)
    executor.submit_all(jobs(tmp_path, "a", "b", "c"))
    assert executor.fields() == {"jobs": "0 running, 3 waiting, 0 done", "joules": 0}
    first, second, third = inner.futures
    now = 110.0
    first.start("node 1")
    assert executor.fields()["jobs"] == "1 running, 2 waiting, 0 done"
    now = 115.0
    first.start("node 2")  # its worker has died
    now = 130.0
    first.set_result(DONE)
    second.start("node 1")
    second.set_result(Outcome(None, "it diverged"))
    third.cancel()
    third.set_exception(CancelledError())
    assert executor.fields() == {"jobs": "0 running, 0 waiting, 3 done", "joules": 2.0}
    row = {"command": "retrain"}
    assert rows(tmp_path) == [
        row | {"job": "a", "place": "node 2", "seconds": 20.0, "end": "complete"},
        row | {"job": "b", "place": "node 1", "seconds": 0.0, "end": "failed: it diverged"},
        row | {"job": "c", "place": "", "seconds": 0.0, "end": "stopped"},
    ]


def test_the_number_of_workers_is_known_in_the_context(tmp_path: Path) -> None:
    """A cluster has to be joined before it is known how many workers it has room for."""
    executor = RecordingExecutor(OpenExecutor(), tmp_path)
    assert executor.workers == 1
    with executor:
        assert executor.workers == 7


def test_runs_that_had_ended_have_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is written before the next job of this process begins."""
    seen: list[int] = []

    def execute(job: Job) -> Outcome:
        seen.append(len(rows(tmp_path)) if (tmp_path / JOBS).exists() else 0)
        return DONE

    monkeypatch.setattr(execution, "execute", execute)
    write_json(tmp_path / "ended" / "summary.json", {"joules": 5.0})
    executor = RecordingExecutor(InlineExecutor(), tmp_path)
    futures = executor.submit_all(jobs(tmp_path, "ended", "a", "b"))
    assert [future.result(0) for future in futures] == [Outcome({"joules": 5.0}), DONE, DONE]
    assert seen == [0, 1]
    assert [row["job"] for row in rows(tmp_path)] == ["a", "b"]
    assert [row["place"] for row in rows(tmp_path)] == ["this process"] * 2


def test_a_run_with_damaged_files_has_failed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "summary.json").write_text("{")
    (future,) = InlineExecutor().submit_all(jobs(tmp_path, "a"))
    outcome = future.result(0)
    assert outcome.summary is None
    assert "summary.json is not a JSON file" in outcome.problem


@pytest.mark.parametrize(
    ("config", "workers", "problem"),
    [
        (InlineConfig("inline"), 3, "workers=3: executor=inline .* set workers=1"),
        (SlurmConfig("slurm"), None, "executor=slurm needs workers=N"),
        (SlurmConfig("slurm", gpus=0.5), 2, r"executor\.gpus=0\.5: must be a whole number with"),
        (RayConfig("ray", gpus=1.5), 2, r"executor\.gpus=1\.5: must be a whole number or below 1"),
    ],
)
def test_settings_that_do_not_fit_together(
    config: InlineConfig | SlurmConfig | RayConfig,
    workers: int | None,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match=problem):
        check_executor(config, workers)


def test_runs_share_a_gpu_on_ray_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: object())
    for config in (RayConfig("ray", gpus=0.5), RayConfig("ray", gpus=2), SlurmConfig("slurm")):
        check_executor(config, 2)
