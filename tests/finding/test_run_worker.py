"""Runs in worker processes, which are stopped and killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pool_runs import end_state, make_job

from darts.comparing.runs import command_arguments, is_complete, log_file
from darts.finding.run_pool import Job, Outcome, RunPool
from darts.writing import WriteError

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
LONG = "epochs=25"  # a second, with a checkpoint after each step

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs signals")


def ignore(job: Job, outcome: Outcome) -> None:
    """Do nothing."""


def never() -> bool:
    return False


def run_command(job: Job) -> None:
    """Execute a job as a command in a new process."""
    subprocess.run(
        [*command_arguments(job.command), *job.overrides, f"hydra.run.dir={job.directory}"],
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunPool]:
    """Return a pool with one worker, which starts once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with RunPool(1, tmp_path_factory.mktemp("workers")) as pool:
            yield pool


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return an uninterrupted long run."""
    job = make_job("retrain", tmp_path_factory.mktemp("whole"), LONG)
    run_command(job)
    return job


def pid_of(pool: RunPool) -> int:
    """Return the process ID of the only worker."""
    (worker,) = pool._workers.values()
    assert worker.process.pid is not None
    return worker.process.pid


def when_running(pool: RunPool, job: Job, action: Callable[[int], object]) -> Callable[[], bool]:
    """Return a function for ``stopping`` that calls another one once, with the worker's ID.

    It does so when the run has a checkpoint, and returns what that function returned last.
    """
    result = [False]

    def poll() -> bool:
        if not result[0] and pool._workers and (job.directory / "checkpoint.pt").exists():
            result[0] = bool(action(pid_of(pool)))
        return result[0]

    return poll


@pytest.mark.slow
def test_a_worker_computes_the_same_as_new_processes(pool: RunPool, tmp_path: Path) -> None:
    """Neither earlier runs nor failed ones change a run."""
    kinds = ["cnn", "invalid", "search", "diverging", "retrain"]
    jobs = [make_job(kind, tmp_path / "pool") for kind in kinds]
    done: list[str] = []
    outcomes = pool.run(jobs, on_done=lambda job, _: done.append(job.name), stopping=never)
    assert done == kinds
    for job in jobs:
        if job.name in ("invalid", "diverging"):
            assert outcomes[job.name].summary is None
            continue
        alone = make_job(job.name, tmp_path / "alone")
        run_command(alone)
        assert end_state(job) == end_state(alone)


@pytest.mark.slow
def test_the_run_of_a_killed_worker_continues_in_another_one(
    pool: RunPool, whole: Job, tmp_path: Path
) -> None:
    job, other = make_job("retrain", tmp_path, LONG), make_job("search", tmp_path)
    killed: set[int] = set()

    def kill_once(worker: int) -> None:
        if not killed:
            killed.add(worker)
            os.kill(worker, signal.SIGKILL)

    outcomes = pool.run([job, other], on_done=ignore, stopping=when_running(pool, job, kill_once))
    assert len(killed) == 1
    assert pid_of(pool) not in killed
    assert outcomes["search"].summary is not None
    assert "resuming" in log_file(job.directory).read_text()
    assert end_state(job) == end_state(whole)


@pytest.mark.slow
def test_a_run_that_kills_two_workers_has_failed(pool: RunPool, tmp_path: Path) -> None:
    job, other = make_job("retrain", tmp_path, "epochs=100000"), make_job("search", tmp_path)
    killed: set[int] = set()

    def kill(worker: int) -> None:
        if worker not in killed and pool._workers[0].job == job:
            killed.add(worker)
            os.kill(worker, signal.SIGKILL)

    outcomes = pool.run([job, other], on_done=ignore, stopping=when_running(pool, job, kill))
    assert len(killed) == 2
    assert outcomes["retrain"] == Outcome(None, "its worker was killed by SIGKILL (out of memory?)")
    assert outcomes["search"].summary is not None


@pytest.mark.slow
def test_stopped_runs_continue_in_the_same_worker(
    pool: RunPool, whole: Job, tmp_path: Path
) -> None:
    job, other = make_job("retrain", tmp_path, LONG), make_job("search", tmp_path)
    workers: list[int] = []

    def stop(worker: int) -> bool:
        workers.append(worker)
        return True

    jobs = [job, other]
    assert pool.run(jobs, on_done=ignore, stopping=when_running(pool, job, stop)) == {}
    assert not is_complete(job.directory)
    assert not other.directory.exists()
    outcomes = pool.run(jobs, on_done=ignore, stopping=never)
    assert [name for name, outcome in outcomes.items() if outcome.summary] == ["retrain", "search"]
    assert workers == [pid_of(pool)]
    assert end_state(job) == end_state(whole)


@pytest.mark.slow
def test_a_signal_to_an_idle_worker_costs_no_run(pool: RunPool, tmp_path: Path) -> None:
    pool.run([make_job("invalid", tmp_path)], on_done=ignore, stopping=never)
    worker = pid_of(pool)
    os.kill(worker, signal.SIGTERM)
    time.sleep(0.5)
    outcomes = pool.run([make_job("search", tmp_path)], on_done=ignore, stopping=never)
    assert outcomes["search"].summary is not None
    assert pid_of(pool) == worker


@pytest.mark.slow
def test_a_worker_that_cannot_write_ends_the_pool(pool: RunPool, tmp_path: Path) -> None:
    """A limit on the size of files acts like a full disk. The pool remains usable."""
    job = make_job("retrain", tmp_path)
    pool.run([make_job("invalid", tmp_path)], on_done=ignore, stopping=never)
    before = resource.prlimit(pid_of(pool), resource.RLIMIT_FSIZE)
    resource.prlimit(pid_of(pool), resource.RLIMIT_FSIZE, (4096, before[1]))
    with pytest.raises(WriteError, match="cannot write"):
        pool.run([job], on_done=ignore, stopping=never)
    resource.prlimit(pid_of(pool), resource.RLIMIT_FSIZE, before)
    assert pool.run([job], on_done=ignore, stopping=never)["retrain"].summary is not None


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_pool(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("not a folder")
    with (
        RunPool(1, tmp_path / "workers") as pool,
        pytest.raises(ValueError, match="3 workers in a row died while they started"),
    ):
        pool.run([make_job("search", tmp_path)], on_done=ignore, stopping=never)


PARENT = """
from pathlib import Path
import sys
from pool_runs import make_job
from darts.finding.run_pool import RunPool
from darts.training.interrupt import Interrupt

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    jobs = [make_job("retrain", folder, "epochs=100000", name=f"run{n}") for n in range(3)]
    with Interrupt() as interrupt, RunPool(2, folder / "workers") as pool:
        outcomes = pool.run(
            jobs, on_done=lambda *_: None, stopping=lambda: interrupt.received is not None
        )
    print(len(outcomes), "outcomes")
"""


def start_parent(folder: Path) -> subprocess.Popen[str]:
    """Start a process with a pool of two workers that execute long runs; wait for checkpoints."""
    script = folder / "parent.py"
    script.write_text(PARENT)
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    deadline = time.monotonic() + 240
    while not all((folder / name / "checkpoint.pt").exists() for name in ("run0", "run1")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.slow
def test_ctrl_c_stops_all_runs_without_any_output(tmp_path: Path) -> None:
    """The terminal sends the signal to all processes of the group."""
    process = start_parent(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=120) == ("0 outcomes\n", "")
    assert process.returncode == 0
    for name in ("run0", "run1"):
        assert "checkpoint saved" in (tmp_path / f"{name}.log").read_text()
        assert not (tmp_path / name / "run.lock").exists()
    assert not (tmp_path / "run2").exists()


@pytest.mark.slow
def test_runs_of_a_killed_parent_continue_in_a_new_one(
    pool: RunPool, whole: Job, tmp_path: Path
) -> None:
    """The workers of the killed process save and end, while the new pool waits for them."""
    process = start_parent(tmp_path)
    process.kill()
    process.communicate(timeout=120)
    job = make_job("retrain", tmp_path, name="run0")
    stop = threading.Event()
    timer = threading.Timer(120, stop.set)
    timer.start()

    def stopping() -> bool:
        return "resuming" in log_file(job.directory).read_text() or stop.is_set()

    assert pool.run([job], on_done=ignore, stopping=stopping) == {}
    timer.cancel()
    assert not stop.is_set()
    for name in ("run0", "run1"):
        log = (tmp_path / f"{name}.log").read_text()
        assert "checkpoint saved" in log
        assert "in use" not in log
