"""The run pool: its runs compute the same as commands, whatever happens to the processes."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pool_runs import RUNS, end_state, make_job

from darts.comparing.runs import log_file
from darts.finding import run_worker
from darts.finding.run_pool import Job, Outcome, RunPool
from darts.training.device import peak_memory
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_lock import RunLock
from darts.writing import WriteError


def ignore(job: Job, outcome: Outcome) -> None:
    """Do nothing."""


def never() -> bool:
    return False


def run_here(*jobs: Job, stopping: Callable[[], bool] = never) -> dict[str, Outcome]:
    """Execute jobs in this process."""
    with RunPool(0, jobs[0].directory.parent / "workers") as pool:
        return pool.run(jobs, on_done=ignore, stopping=stopping)


def when_exists(file: Path, action: Callable[[], object]) -> threading.Thread:
    """Call a function in another thread as soon as a file exists."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        action()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_earlier_runs_do_not_change_a_run(tmp_path: Path) -> None:
    """Repeat runs after other runs in the same process."""
    kinds = ["retrain", "diverging", "search"]
    first = [make_job(kind, tmp_path / "first") for kind in kinds]
    again = [make_job(kind, tmp_path / "again") for kind in reversed(kinds)]
    run_here(*first)
    run_here(*again)
    states = {job.name: end_state(job) for job in again if job.name != "diverging"}
    assert states == {job.name: end_state(job) for job in first if job.name != "diverging"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_peak_memory_of_a_run_is_its_own(tmp_path: Path) -> None:
    torch.ones(2**27)  # 512 MiB, released at once
    before = peak_memory(torch.device("cpu")) / 2**20
    summary = run_here(make_job("retrain", tmp_path))["retrain"].summary
    assert summary is not None
    assert summary["peak_memory_mb"] < before - 150


def test_failed_runs_do_not_disturb_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every failure becomes a one-line problem; output goes to the logs."""
    jobs = [make_job(kind, tmp_path) for kind in ("invalid", "diverging", "retrain")]
    done: list[str] = []
    with RunPool(0, tmp_path / "workers") as pool:
        outcomes = pool.run(
            jobs, on_done=lambda job, outcome: done.append(job.name), stopping=never
        )
    assert done == ["invalid", "diverging", "retrain"]
    assert outcomes["invalid"] == Outcome(None, "optimizer.lr=-1.0: must be > 0")
    assert outcomes["diverging"].summary is None
    assert "not finite" in outcomes["diverging"].problem or "nan" in outcomes["diverging"].problem
    assert outcomes["retrain"].summary is not None
    assert capfd.readouterr() == ("", "")
    assert "must be > 0" in log_file(jobs[0].directory).read_text()
    assert "training in" in log_file(jobs[2].directory).read_text()


def test_ended_runs_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for complete and for diverged runs; failures of other kinds are tried again."""
    jobs = [make_job(kind, tmp_path) for kind in ("retrain", "diverging", "invalid")]
    before = run_here(*jobs)
    started: list[Job] = []

    def record(job: Job) -> Outcome:
        started.append(job)
        return Outcome(None, "again")

    monkeypatch.setattr("darts.finding.run_pool.execute", record)
    after = run_here(*jobs)
    assert [job.name for job in started] == ["invalid"]
    assert after == before | {"invalid": Outcome(None, "again")}


def test_a_run_without_checkpoint_starts_again_in_its_directory(tmp_path: Path) -> None:
    job, whole = make_job("retrain", tmp_path), make_job("retrain", tmp_path, name="whole")
    run_here(job, whole)
    for name in ("summary.json", "checkpoint.pt"):
        (job.directory / name).unlink()
    assert run_here(job)["retrain"].summary is not None
    assert end_state(job) == end_state(whole)


def test_an_unexpected_error_is_an_outcome_with_a_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA out of\nmemory")

    monkeypatch.setattr(run_worker, "run_command", fail)
    job = make_job("retrain", tmp_path)
    assert run_here(job) == {"retrain": Outcome(None, "out of memory: CUDA out of memory")}
    assert "Traceback" in log_file(job.directory).read_text()


def test_a_full_disk_ends_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise WriteError(errno.ENOSPC, "cannot write: disk is full")

    monkeypatch.setattr(run_worker, "run_command", fail)
    with pytest.raises(WriteError, match="disk is full"):
        run_here(make_job("retrain", tmp_path))


@pytest.mark.parametrize("kind", ["retrain", pytest.param("search", marks=pytest.mark.slow)])
def test_a_stopped_run_continues_bit_for_bit(tmp_path: Path, kind: str) -> None:
    """The signal stops this run, and the next one does not start."""
    job = make_job(kind, tmp_path, "epochs=5")
    other = make_job("cnn", tmp_path)
    whole = make_job(kind, tmp_path, "epochs=5", name="whole")
    thread = when_exists(
        job.directory / "checkpoint.pt", lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    with Interrupt() as interrupt:
        outcomes = run_here(job, other, stopping=lambda: interrupt.received is not None)
    thread.join()
    assert outcomes == {}
    assert not other.directory.exists()
    outcomes = run_here(job, whole)
    assert "resuming" in log_file(job.directory).read_text()
    assert end_state(job) == end_state(whole)


def test_a_signal_that_nobody_handles_ends_the_pool(tmp_path: Path) -> None:
    job = make_job("retrain", tmp_path, "epochs=1000")
    thread = when_exists(
        job.directory / "checkpoint.pt", lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(Interrupted):
        run_here(job)
    thread.join()


def test_a_run_waits_for_the_owner_of_its_directory(tmp_path: Path) -> None:
    job = make_job("retrain", tmp_path)
    job.directory.mkdir()
    lock = RunLock(job.directory)
    released: list[float] = []

    def release() -> None:
        time.sleep(1)
        released.append(time.time())
        lock.release()

    thread = threading.Thread(target=release)
    thread.start()
    assert run_here(job)["retrain"].summary is not None
    thread.join()
    assert (job.directory / "config.yaml").stat().st_mtime > released[0]


def test_a_run_that_another_process_has_begun_meanwhile_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process begins the run right after this one has found an empty directory."""
    job, whole = make_job("retrain", tmp_path), make_job("retrain", tmp_path, name="whole")
    run_command = run_worker.run_command

    def interfere(command: str, overrides: tuple[str, ...], directory: Path) -> None:
        monkeypatch.undo()
        with Interrupt() as interrupt:
            interrupt.received = signal.SIGTERM
            with pytest.raises(Interrupted):
                run_command(command, overrides, directory)
            interrupt.received = None
        run_command(command, overrides, directory)

    monkeypatch.setattr(run_worker, "run_command", interfere)
    run_here(job)
    run_here(whole)
    assert "resuming" in log_file(job.directory).read_text()
    assert end_state(job) == end_state(whole)


@pytest.mark.parametrize("same", ["name", "directory"])
def test_jobs_must_differ(tmp_path: Path, same: str) -> None:
    first = make_job("retrain", tmp_path)
    second = Job(
        first.name if same == "name" else "other",
        "search",
        first.directory if same == "directory" else tmp_path / "other",
        RUNS["search"][1],
    )
    with pytest.raises(ValueError, match="same name or the same directory"):
        run_here(first, second)
