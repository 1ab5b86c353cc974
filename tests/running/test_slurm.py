"""Jobs of Slurm, by a submitit whose jobs end as a test decides."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_jobs import named_job
from waiting import wait_until

from darts.config import ConfigError
from darts.config.many_runs import SlurmConfig
from darts.running import execution
from darts.running.jobs import MAX_RESTARTS, ExecutorError, Job, Outcome
from darts.training.interrupt import Interrupt, Interrupted
from darts.writing import WriteError

pytest.importorskip("submitit")

from submitit.core.utils import FailedJobError, UncompletedJobError

from darts.running import slurm
from darts.running.slurm import SlurmExecutor, run_alone

DONE = Outcome({"epochs": 1})
TIMEOUT = 30


class FakeHandle:
    """The handle of a job that runs until ``end`` is called, or until its process gets SIGTERM."""

    def __init__(self, cluster: FakeCluster, job: Job) -> None:
        self.cluster, self.job = cluster, job
        self.job_id = f"7_{len(cluster.handles)}"
        self.state = "NODE_FAIL"
        self.paths = SimpleNamespace(stderr=f"{self.job_id}.err")
        self._process = SimpleNamespace(terminate=self._terminate)
        self.reply: object = None
        self.is_over = False
        self.problem: Exception | None = None  # of the next look at the job
        self.results = 0  # how often the result was read

    def end(self, reply: object) -> None:
        self.reply, self.is_over = reply, True

    def _terminate(self) -> None:
        self.cluster.terminated.append(self.job_id)
        self.is_over = self.is_over or not self.cluster.ignores_signals

    def done(self, force_check: bool = False) -> bool:
        self.cluster.forced |= force_check
        if self.problem is not None:
            raise self.problem
        return self.is_over

    def result(self) -> object:
        self.results += 1
        if isinstance(self.reply, RuntimeError):
            raise self.reply
        return self.reply


@dataclass
class FakeCluster:
    """An executor of submitit.

    The last of ``problems`` is the error of the next submission, None for no error. ``forced``:
    whether Slurm was asked for the states of jobs.
    """

    folder: str = ""
    parameters: dict[str, object] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    handles: list[FakeHandle] = field(default_factory=list)
    problems: list[Exception | None] = field(default_factory=list)
    terminated: list[str] = field(default_factory=list)
    ignores_signals: bool = False
    forced: bool = False

    def update_parameters(self, **parameters: object) -> None:
        self.parameters = {k: value for k, value in parameters.items() if value is not None}

    @contextmanager
    def batch(self) -> Iterator[None]:
        before = len(self.handles)
        yield
        self.batches.append(len(self.handles) - before)

    def submit(self, function: object, job: Job) -> FakeHandle:
        assert function is run_alone
        if self.problems and (problem := self.problems.pop()) is not None:
            raise problem
        self.handles.append(FakeHandle(self, job))
        return self.handles[-1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Return the cluster of all executors of the test; ``scancel`` sends SIGTERM."""
    cluster = FakeCluster()

    def make(folder: Path, **options: str) -> FakeCluster:
        cluster.folder = str(folder)
        return cluster

    def scancel(words: list[str], **options: object) -> None:
        assert words[0] == "scancel"
        for handle in cluster.handles:
            if handle.job_id in words[1:]:
                handle._terminate()

    monkeypatch.setattr(slurm, "_POLL", 0.01)
    monkeypatch.setattr(slurm.submitit, "AutoExecutor", make)
    monkeypatch.setattr(subprocess, "run", scancel)
    return cluster


def remote(workers: int = 2, **options: Any) -> SlurmExecutor:
    return SlurmExecutor(SlurmConfig("slurm", **options), workers)


def handle_of(cluster: FakeCluster, number: int) -> FakeHandle:
    """Return the handle of a job as soon as it is submitted."""
    wait_until(lambda: len(cluster.handles) > number, seconds=TIMEOUT)
    return cluster.handles[number]


def lost() -> UncompletedJobError:
    return UncompletedJobError("it has not produced any output")


def test_jobs_that_are_submitted_together_are_an_array(cluster: FakeCluster) -> None:
    options = {"slurm_qos": "long"}
    with remote(2, cores=3, gpus=1, minutes=60, options=options) as executor:
        futures = executor.submit_all([named_job(name) for name in ("a", "b", "c")])
        handle_of(cluster, 2).end(Outcome(None, "it diverged"))
        cluster.handles[0].end(DONE)
        cluster.handles[1].end(DONE)
        outcomes = [future.result(TIMEOUT) for future in futures]
    assert outcomes == [DONE, DONE, Outcome(None, "it diverged")]
    assert cluster.batches == [3]
    assert [future.place for future in futures] == ["job 7_0", "job 7_1", "job 7_2"]
    assert [handle.job.threads for handle in cluster.handles] == [3, 3, 3]
    assert cluster.parameters == {
        "timeout_min": 60,
        "cpus_per_task": 3,
        "gpus_per_node": 1,
        "slurm_array_parallelism": 2,
        "slurm_srun_args": ["--cpus-per-task=3"],
        "slurm_qos": "long",
    }


def test_each_executor_has_a_folder_of_its_own_and_prints_nothing(cluster: FakeCluster) -> None:
    """The files of local jobs are named after processes, whose IDs are used again."""
    folders = []
    for _ in range(2):
        with remote(folder="runs/jobs"):
            folders.append(Path(cluster.folder))
            # Submitit would print each sacct that fails.
            assert not logging.getLogger("submitit").isEnabledFor(logging.ERROR)
    assert folders[0] != folders[1]
    assert [folder.parent for folder in folders] == [Path("runs/jobs")] * 2


def test_a_lost_job_is_submitted_again_three_times(cluster: FakeCluster) -> None:
    with remote() as executor:
        future = executor.submit(named_job("a"))
        for number in range(MAX_RESTARTS + 1):
            handle_of(cluster, number).end(lost())
        outcome = future.result(TIMEOUT)
    assert outcome == Outcome(None, "its last job was lost: NODE_FAIL")
    assert len(cluster.handles) == MAX_RESTARTS + 1


def test_jobs_that_reach_their_time_limit_continue_without_a_limit(cluster: FakeCluster) -> None:
    with remote() as executor:
        future = executor.submit(named_job("a"))
        for number in range(2 * MAX_RESTARTS):
            handle_of(cluster, number).end(None)
        handle_of(cluster, 2 * MAX_RESTARTS).end(DONE)
        assert future.result(TIMEOUT) == DONE


def test_the_signal_before_the_time_limit_stops_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler of submitit would raise an error in the run."""

    def execute(job: Job) -> Outcome:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGUSR2)
            wait_until(lambda: interrupt.received, seconds=TIMEOUT)
            raise Interrupted(128 + (interrupt.received or 0))

    monkeypatch.setattr(execution, "execute", execute)
    before = signal.getsignal(signal.SIGUSR2)
    try:
        assert run_alone(named_job("a")) is None
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_failure_of_the_machine_is_raised(cluster: FakeCluster) -> None:
    with remote() as executor:
        future = executor.submit(named_job("a"))
        handle_of(cluster, 0).end(WriteError(errno.ENOSPC, "cannot write: disk is full"))
        with pytest.raises(WriteError, match="full"):
            future.result(TIMEOUT)


def test_an_unexpected_error_of_a_job_names_its_log(cluster: FakeCluster) -> None:
    """For example, the node lacks this package."""
    with remote() as executor:
        future = executor.submit(named_job("a"))
        handle_of(cluster, 0).end(FailedJobError("Traceback ..."))
        with pytest.raises(ExecutorError, match=r"^executor=slurm: job 7_0: .* see 7_0\.err$"):
            future.result(TIMEOUT)
    assert len(cluster.handles) == 1


def test_an_error_of_sbatch_affects_only_its_jobs(cluster: FakeCluster) -> None:
    cluster.problems = [FailedJobError("sbatch: error: invalid\npartition")]
    with remote() as executor:
        future = executor.submit(named_job("a"))
        with pytest.raises(ExecutorError, match="cannot submit jobs: sbatch: error: invalid part"):
            future.result(TIMEOUT)
        later = executor.submit(named_job("b"))
        handle_of(cluster, 0).end(DONE)
        assert later.result(TIMEOUT) == DONE


def test_a_local_job_that_does_not_start_affects_no_other_one(cluster: FakeCluster) -> None:
    """In a batch, the handles of processes that had started before it would be lost."""
    cluster.problems = [BlockingIOError(errno.EAGAIN, "no more processes"), None]
    with remote(2, cluster="local") as executor:
        futures = executor.submit_all([named_job("a"), named_job("b")])
        with pytest.raises(ExecutorError, match="no more processes"):
            futures[1].result(TIMEOUT)
        handle_of(cluster, 0).end(DONE)
        assert futures[0].result(TIMEOUT) == DONE


def test_an_error_of_a_look_affects_only_its_job(cluster: FakeCluster) -> None:
    """The job is cancelled, because nobody looks at it any more."""
    with remote() as executor:
        futures = executor.submit_all([named_job("a"), named_job("b")])
        handle_of(cluster, 1)
        cluster.handles[0].problem = OSError(errno.ESTALE, "Stale file handle")
        with pytest.raises(ExecutorError, match="Stale file handle"):
            futures[0].result(TIMEOUT)
        cluster.handles[1].end(DONE)
        assert futures[1].result(TIMEOUT) == DONE
    assert cluster.terminated == ["7_0"]


def test_a_cancelled_job_ends_without_a_look_at_its_result(cluster: FakeCluster) -> None:
    """A job that has not begun has no result, for which submitit would wait."""
    with remote() as executor:
        futures = executor.submit_all([named_job("a"), named_job("b")])
        handle_of(cluster, 1)
        assert not cluster.forced
        assert futures[0].cancel()
        assert wait([futures[0]], TIMEOUT).done
        assert futures[0].cancelled()
        assert set(cluster.terminated) == {"7_0"}
        assert cluster.forced
        cluster.handles[1].end(DONE)
        assert futures[1].result(TIMEOUT) == DONE
    assert [handle.results for handle in cluster.handles] == [0, 1]


def test_without_accounting_a_cancelled_job_ends_when_slurm_kills_it(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm never says that it has ended. A job in a known state may still save a checkpoint."""
    monkeypatch.setattr(slurm, "_KILL_WAIT", 0.1)
    cluster.ignores_signals = True
    with remote() as executor:
        futures = executor.submit_all([named_job(name) for name in ("a", "b", "c")])
        handle_of(cluster, 2).state = "UNKNOWN"
        cluster.handles[0].state, cluster.handles[1].state = "UNKNOWN", "RUNNING"
        for future in futures[:2]:
            future.cancel()
        assert wait([futures[0]], TIMEOUT).done
        assert futures[0].cancelled()
        wait_until(lambda: cluster.terminated.count("7_1") > 50, seconds=TIMEOUT)
        assert not futures[1].done()
        assert not futures[2].done()  # nobody has cancelled it
        cluster.handles[1].end(None)
    assert all(future.cancelled() for future in futures)


def test_the_end_of_the_context_cancels_all_jobs(cluster: FakeCluster) -> None:
    """None of them is submitted again, and later jobs are cancelled at once."""
    with remote() as executor:
        futures = executor.submit_all([named_job(name) for name in ("a", "b", "c")])
        handle_of(cluster, 2)
        cluster.handles[0].end(lost())
    futures.append(executor.submit(named_job("late")))
    assert all(future.cancelled() for future in futures)
    assert all(handle.is_over for handle in cluster.handles)


def test_jobs_that_were_not_submitted_yet_are_cancelled(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "_POLL", 1.0)
    with remote() as executor:
        futures = executor.submit_all([named_job(name) for name in ("a", "b")])
    assert all(future.cancelled() for future in futures)
    assert cluster.handles == []


def test_ctrl_c_cancels_jobs_without_waiting_for_them(cluster: FakeCluster) -> None:
    cluster.ignores_signals = True  # for example, they write large checkpoints
    with pytest.raises(KeyboardInterrupt), remote() as executor:  # noqa: PT012
        future = executor.submit(named_job("a"))
        handle_of(cluster, 0)
        raise KeyboardInterrupt
    assert future.cancelled()
    assert "7_0" in cluster.terminated


def test_local_jobs_are_as_many_as_workers(cluster: FakeCluster) -> None:
    """A job that waits for another one is dropped at once."""
    with remote(2, cluster="local") as executor:
        futures = executor.submit_all([named_job(f"{n}") for n in range(5)])
        handle_of(cluster, 1)
        assert [future.place for future in futures[2:]] == ["", "", ""]
        assert futures[2].cancel()
        assert futures[2].cancelled()
        cluster.handles[0].end(DONE)
        assert handle_of(cluster, 2).job.name == "3"
        assert sum(not handle.is_over for handle in cluster.handles) == 2
        for number, future in ((1, futures[1]), (2, futures[3]), (3, futures[4])):
            handle_of(cluster, number).end(DONE)
            assert future.result(TIMEOUT) == DONE
    assert cluster.batches == [1, 1, 1, 1]


def test_a_local_job_gets_sigterm_until_it_ends(cluster: FakeCluster) -> None:
    """The cancellation of submitit would kill the run before it has saved."""
    cluster.ignores_signals = True  # as a process that is just starting
    with remote(2, cluster="local") as executor:
        future = executor.submit(named_job("a"))
        handle = handle_of(cluster, 0)
        future.cancel()
        wait_until(lambda: len(cluster.terminated) >= 3, seconds=TIMEOUT)
        handle.end(None)
        assert wait([future], TIMEOUT).done
    assert future.cancelled()


def test_the_variables_of_an_outer_job_are_hidden_from_sbatch(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of a job, they are settings of the user."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    seen: list[str | None] = []
    submit = cluster.submit

    def watch(function: object, job: Job) -> FakeHandle:
        seen.append(os.environ.get("SBATCH_ACCOUNT"))
        return submit(function, job)

    monkeypatch.setattr(cluster, "submit", watch)
    with remote() as executor:
        executor.submit(named_job("a"))
        handle_of(cluster, 0)
        monkeypatch.setenv("SLURM_JOB_ID", "5")
        executor.submit(named_job("b"))
        handle_of(cluster, 1)
        wait_until(lambda: "SBATCH_ACCOUNT" in os.environ, seconds=TIMEOUT)
    assert seen == ["mine", None]


def test_a_wrong_option_is_one_line(tmp_path: Path) -> None:
    config = SlurmConfig("slurm", cluster="local", folder=str(tmp_path), options={"name": 5})
    with pytest.raises(ConfigError, match=r"^executor=slurm: .*name"):
        SlurmExecutor(config, 1).__enter__()
