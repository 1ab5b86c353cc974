"""Jobs in this process compute the same as commands, and every job has a row."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from small_jobs import end_state, make_job, when_exists

from darts.config import ConfigError
from darts.config.many_runs import InlineConfig, RayConfig, SlurmConfig
from darts.recipes.commands import would_continue
from darts.running import execution, executors
from darts.running.execution import InlineExecutor
from darts.running.executors import check_executor
from darts.running.jobs import Future, Job, JobLog, Outcome, log_file
from darts.tracking.metrics import read_metrics
from darts.training.device import peak_memory
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_lock import RunLock
from darts.writing import WriteError, write_json

STABLE = "optimizer.schedule=stable"


def run(*jobs: Job) -> dict[str, Outcome]:
    with InlineExecutor() as executor:
        return {job.name: executor.submit(job).result(0) for job in jobs}


def test_earlier_runs_do_not_change_a_run(tmp_path: Path) -> None:
    kinds = ["retrain", "diverging", "search"]
    first = [make_job(kind, tmp_path / "first") for kind in kinds]
    again = [make_job(kind, tmp_path / "again") for kind in reversed(kinds)]
    run(*first)
    run(*again)
    states = {job.name: end_state(job) for job in again if job.name != "diverging"}
    assert states == {job.name: end_state(job) for job in first if job.name != "diverging"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_peak_memory_of_a_run_is_its_own(tmp_path: Path) -> None:
    torch.ones(2**27)  # 512 MiB, released at once
    before = peak_memory(torch.device("cpu")) / 2**20
    summary = run(make_job("retrain", tmp_path))["retrain"].summary
    assert summary["peak_memory_mb"] < before - 150


def test_ended_runs_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for complete and for diverged runs; failures of other kinds are tried again."""
    jobs = [make_job(kind, tmp_path) for kind in ("retrain", "diverging", "invalid")]
    before = run(*jobs)
    start = Mock(return_value=Outcome(None, "again"))
    monkeypatch.setattr(execution, "_try", start)
    after = run(*jobs)
    assert [call.args[0].name for call in start.call_args_list] == ["invalid"]
    assert after == before | {"invalid": Outcome(None, "again")}


def test_a_complete_run_continues_only_if_changes_make_it_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(make_job("retrain", tmp_path, STABLE))["retrain"]
    calls: list[tuple[str, ...]] = []

    def resume(command: str, directory: Path, changes: tuple[str, ...]) -> None:
        calls.append(changes)
        (directory / "summary.json").write_text('{"epochs": 4}')

    monkeypatch.setattr(execution, "resume_command", resume)
    for changes in (("epochs=2",), ("epochs=2", "save_minutes=3")):
        assert run(make_job("retrain", tmp_path, STABLE, changes=changes)) == {"retrain": before}
    assert calls == []
    job = make_job("retrain", tmp_path, STABLE, changes=("epochs=4",))
    assert run(job) == {"retrain": Outcome({"epochs": 4})}
    assert calls == [("epochs=4",)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("seed=1", "seed is 8 in the run and 1 here"),
        ("epochs=0", "epochs=0: must be >= 1"),
        ("epoch=5", "no such key 'epoch'"),
        ("hydra.run.dir=.", "accepts only key=value"),
    ],
)
def test_a_wrong_change_is_an_outcome(tmp_path: Path, change: str, problem: str) -> None:
    job = make_job("retrain", tmp_path, changes=(change,))
    run(make_job("retrain", tmp_path))
    (job.directory / "summary.json").unlink()
    outcome = run(job)["retrain"]
    assert outcome.summary is None
    assert problem in outcome.problem
    assert run(make_job("retrain", tmp_path))["retrain"].summary is not None


def test_an_interrupted_run_continues_with_changes(tmp_path: Path) -> None:
    job, whole = make_job("retrain", tmp_path), make_job("retrain", tmp_path, name="whole")
    saved = job.directory / "checkpoint.safetensors"
    thread = when_exists(saved, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        run(job)
    thread.join()
    changed = make_job("retrain", tmp_path, changes=("name=other", "loader.workers=0"))
    summary = run(changed)["retrain"].summary
    assert summary["name"] == "other"
    run(whole)
    assert end_state(job)["metrics.jsonl"] == end_state(whole)["metrics.jsonl"]
    with pytest.raises(ConfigError, match="darts retrain"):
        would_continue("search", job.directory, ())


def test_the_threads_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def fail(*_: object) -> None:
        threads.append(torch.get_num_threads())
        raise RuntimeError

    before = torch.get_num_threads()
    monkeypatch.setattr(execution, "run_command", fail)
    run(make_job("retrain", tmp_path), make_job("search", tmp_path, threads=before + 1))
    assert threads == [before, before + 1]
    assert torch.get_num_threads() == before


def test_an_unexpected_error_is_an_outcome_with_a_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = Mock(side_effect=RuntimeError("CUDA out of\nmemory"))
    monkeypatch.setattr(execution, "run_command", fail)
    job = make_job("retrain", tmp_path)
    assert run(job) == {"retrain": Outcome(None, "out of memory: CUDA out of memory")}
    assert "Traceback" in log_file(job.directory).read_text()


def test_a_full_disk_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for an error of this package and for another one, as in a print."""
    errors = [WriteError(errno.ENOSPC, "cannot write: disk is full"), OSError(errno.ENOSPC, "full")]
    monkeypatch.setattr(execution, "run_command", Mock(side_effect=errors))
    for _ in errors:
        with pytest.raises(WriteError, match="full"):
            run(make_job("retrain", tmp_path))


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
    assert run(job)["retrain"].summary is not None
    thread.join()
    assert (job.directory / "config.yaml").stat().st_mtime > released[0]


def test_a_run_that_another_process_has_begun_meanwhile_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process begins the run right after this one has found an empty directory."""
    job, whole = make_job("retrain", tmp_path), make_job("retrain", tmp_path, name="whole")
    run_command = execution.run_command

    def interfere(command: str, overrides: tuple[str, ...], directory: Path) -> None:
        monkeypatch.undo()
        with Interrupt() as interrupt:
            interrupt.received = signal.SIGTERM
            with pytest.raises(Interrupted):
                run_command(command, overrides, directory)
            interrupt.received = None
        run_command(command, overrides, directory)

    monkeypatch.setattr(execution, "run_command", interfere)
    run(job, whole)
    assert "resuming" in log_file(job.directory).read_text()
    assert end_state(job) == end_state(whole)


DONE = Outcome({"joules": 2.0})


def jobs(folder: Path, *names: str) -> list[Job]:
    return [Job(name, "retrain", folder / name, ()) for name in names]


def rows(folder: Path) -> list[dict[str, object]]:
    return read_metrics(folder / "jobs.jsonl")


def test_each_job_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds count from the begin of the job, not from its submission."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = JobLog(tmp_path)
    first, second, third = (Future(job) for job in jobs(tmp_path, "a", "b", "c"))
    for future in (first, second, third):
        log.watch(future)
    assert log.fields() == {"jobs": "0 running, 3 waiting, 0 done", "joules": 0}
    now = 110.0
    first.start("node 1")
    assert log.fields()["jobs"] == "1 running, 2 waiting, 0 done"
    now = 115.0
    first.start("node 2")  # its worker has died
    now = 130.0
    first.set_result(DONE)
    second.start("node 1")
    second.set_result(Outcome(None, "it diverged"))
    third.cancel()
    third.set_exception(CancelledError())
    assert log.fields() == {"jobs": "0 running, 0 waiting, 3 done", "joules": 2.0}
    row = {"command": "retrain"}
    assert rows(tmp_path) == [
        row | {"job": "a", "place": "node 2", "seconds": 20.0, "end": "complete"},
        row | {"job": "b", "place": "node 1", "seconds": 0.0, "end": "failed: it diverged"},
        row | {"job": "c", "place": "", "seconds": 0.0, "end": "stopped"},
    ]


def test_runs_that_had_ended_have_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is written before the next job of this process begins."""
    seen: list[int] = []

    def execute(job: Job) -> Outcome:
        seen.append(len(rows(tmp_path)) if (tmp_path / "jobs.jsonl").exists() else 0)
        return DONE

    monkeypatch.setattr(execution, "execute", execute)
    write_json(tmp_path / "ended" / "summary.json", {"joules": 5.0})
    executor = InlineExecutor()
    executor.log = JobLog(tmp_path)
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
