"""Jobs in worker processes, which are stopped and killed."""

from __future__ import annotations

import multiprocessing
import multiprocessing.spawn as spawn
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from small_jobs import end_state, make_job
from waiting import wait_for, wait_until

from darts.running import processes
from darts.running.jobs import ExecutorError, Future, Job, Outcome, is_complete, log_file
from darts.running.pool import WorkerDied
from darts.running.processes import ProcessExecutor, ProcessWorker
from darts.writing import WriteError

LONG = "epochs=25"  # a second, with a checkpoint after each step
TIMEOUT = 120

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs signals")


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessExecutor]:
    """Return an executor with one worker, which starts once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with ProcessExecutor(1, tmp_path_factory.mktemp("workers")) as executor:
            yield executor


@pytest.fixture(scope="module")
def whole(executor: ProcessExecutor, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = make_job("retrain", tmp_path_factory.mktemp("whole"), LONG)
    assert executor.submit(job).result(TIMEOUT).summary is not None
    return job


def worker_pid(executor: ProcessExecutor) -> int:
    (worker,) = executor._workers
    wait_until(lambda: worker.process is not None)
    return worker.process.pid


def outcomes(*futures: Future) -> list[Outcome]:
    return [future.result(TIMEOUT) for future in futures]


def test_jobs_run_in_order_even_if_some_fail(executor: ProcessExecutor, tmp_path: Path) -> None:
    kinds = ["cnn", "invalid", "search", "diverging", "retrain"]
    done: list[str] = []
    futures = [executor.submit(make_job(kind, tmp_path)) for kind in kinds]
    for future in futures:
        future.add_done_callback(lambda future: done.append(future.job.name))
    assert not wait(futures, TIMEOUT).not_done
    assert done == kinds
    complete = [outcome.summary is not None for outcome in outcomes(*futures)]
    assert complete == [True, False, True, False, True]
    again = executor.submit(futures[-1].job)
    assert again.done()  # without a worker
    assert again.result() == futures[-1].result()


def test_a_worker_does_not_execute_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"open({str(tmp_path / 'executed')!r}, 'w'); raise SystemExit(1)")
    main = ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    worker = ProcessWorker(None, 1, tmp_path / "log")
    worker.start()
    assert sys.modules["__main__"] is main
    assert worker.is_alive()
    worker.end()
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_a_worker_computes_like_a_new_process(executor: ProcessExecutor, tmp_path: Path) -> None:
    job, alone = make_job("cnn", tmp_path / "worker"), make_job("cnn", tmp_path / "alone")
    outcomes(executor.submit(make_job("search", tmp_path)), executor.submit(job))
    directory = f"hydra.run.dir={alone.directory}"
    subprocess.run(
        [sys.executable, "-m", f"darts.{alone.command}", *alone.overrides, directory],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,  # it exits with code 3, because the network is bad
        capture_output=True,
    )
    assert end_state(job) == end_state(alone)


def test_a_cancelled_run_continues_in_the_same_worker(
    executor: ProcessExecutor, whole: Job, tmp_path: Path
) -> None:
    """The waiting job is dropped; the worker is free at once for the next job."""
    job, waiting = make_job("retrain", tmp_path, LONG), make_job("search", tmp_path)
    first, second = executor.submit(job), executor.submit(waiting)
    wait_for(job.directory / "checkpoint.safetensors")
    assert (first.place, second.place) == ("process 0", "")
    worker = worker_pid(executor)
    assert second.cancel()
    assert first.cancel()
    assert first.cancel()  # a second call changes nothing
    assert wait([first, second], TIMEOUT).not_done == set()
    for future in (first, second):
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result()
    assert not is_complete(job.directory)
    assert not waiting.directory.exists()
    futures = [executor.submit(job), executor.submit(waiting)]
    assert all(outcome.summary for outcome in outcomes(*futures))
    assert worker_pid(executor) == worker
    assert "resuming" in log_file(job.directory).read_text()
    assert end_state(job) == end_state(whole)
    assert not futures[0].cancel()
    assert not futures[0].cancelled()


def test_a_signal_to_an_idle_worker_costs_no_run(executor: ProcessExecutor, tmp_path: Path) -> None:
    executor.submit(make_job("invalid", tmp_path)).result(TIMEOUT)
    worker = worker_pid(executor)
    os.kill(worker, signal.SIGTERM)
    time.sleep(0.5)
    assert executor.submit(make_job("retrain", tmp_path)).result(TIMEOUT).summary is not None
    assert worker_pid(executor) == worker


@pytest.mark.slow
def test_the_run_of_a_killed_worker_continues_in_another_one(
    executor: ProcessExecutor, whole: Job, tmp_path: Path
) -> None:
    job, other = make_job("retrain", tmp_path, LONG), make_job("search", tmp_path)
    futures = [executor.submit(job), executor.submit(other)]
    wait_for(job.directory / "checkpoint.safetensors")
    worker = worker_pid(executor)
    os.kill(worker, signal.SIGKILL)
    assert all(outcome.summary for outcome in outcomes(*futures))
    assert worker_pid(executor) not in (None, worker)
    assert "resuming" in log_file(job.directory).read_text()
    assert end_state(job) == end_state(whole)


def test_a_worker_that_cannot_write_raises(executor: ProcessExecutor, tmp_path: Path) -> None:
    """A limit on the size of files acts like a full disk. The executor remains usable."""
    job = make_job("retrain", tmp_path)
    executor.submit(make_job("invalid", tmp_path)).result(TIMEOUT)
    worker = worker_pid(executor)
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, before[1]))
    with pytest.raises(WriteError, match="cannot write"):
        executor.submit(job).result(TIMEOUT)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, before)
    assert executor.submit(job).result(TIMEOUT).summary is not None


def test_a_log_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("not a folder")
    with (
        ProcessExecutor(1, tmp_path / "workers") as executor,
        pytest.raises(WriteError, match=r"cannot write .*workers/0\.log"),
    ):
        executor.submit(make_job("search", tmp_path)).result(TIMEOUT)


def test_workers_that_cannot_start_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_context", lambda: multiprocessing.get_context("spawn"))
    monkeypatch.setattr(spawn, "_python_exe", b"/bin/false")
    with (
        ProcessExecutor(1, tmp_path / "workers") as executor,
        pytest.raises(ExecutorError, match=r"3 workers in a row died .* exited with code 1"),
    ):
        executor.submit(make_job("search", tmp_path)).result(TIMEOUT)


def test_the_end_of_the_context_cancels_jobs_at_once(tmp_path: Path) -> None:
    """The workers are still importing PyTorch."""
    start = time.monotonic()
    with ProcessExecutor(2, tmp_path / "workers") as executor:
        futures = [executor.submit(make_job("search", tmp_path, name=f"{n}")) for n in range(3)]
    assert time.monotonic() - start < 2
    assert all(future.cancelled() for future in futures)
    assert not wait(futures, 0).not_done


def test_workers_share_the_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    shares = [each._arguments[1] for each in ProcessExecutor(3, tmp_path)._workers]
    assert shares == [2, 2, 2]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert ProcessExecutor(1, tmp_path)._workers[0]._arguments[1] is None


def test_a_worker_gets_the_variables_with_which_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fork server has the variables of an earlier moment."""
    found: list[str | None] = []

    class Stopped(Exception):
        pass

    def execute_here(target: Any, args: tuple[Any, ...]) -> None:
        monkeypatch.delenv("DARTS_TEST")
        target(*args)

    def record(number: int | None, threads: int | None) -> None:
        found.append(os.environ.get("DARTS_TEST"))
        raise Stopped

    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=execute_here)
    monkeypatch.setattr(processes, "_context", lambda: context)
    monkeypatch.setattr(processes, "prepare_process", record)
    monkeypatch.setenv("DARTS_TEST", "new")
    with pytest.raises(Stopped):
        ProcessWorker(None, None, tmp_path / "0.log").start()
    assert found == ["new"]


def test_a_worker_that_dies_while_it_replies_has_died(tmp_path: Path) -> None:
    worker = ProcessWorker(None, None, tmp_path / "0.log")
    worker._connection, other_end = multiprocessing.Pipe()
    worker.process = SimpleNamespace(join=lambda: None, exitcode=-9)  # type: ignore[assignment]
    os.write(other_end.fileno(), struct.pack("!i", 1000) + b"a part")
    other_end.close()
    with pytest.raises(WorkerDied, match=r"was killed by SIGKILL \(out of memory\?\)"):
        worker._receive()


def test_a_worker_can_leave_the_process_group(tmp_path: Path) -> None:
    worker = ProcessWorker(None, 1, tmp_path / "0.log", own_group=True)
    worker.start()
    try:
        assert worker.process is not None
        assert worker.process.pid is not None
        assert os.getpgid(worker.process.pid) == worker.process.pid
    finally:
        worker.end()
