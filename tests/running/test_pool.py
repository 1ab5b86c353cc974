"""Jobs in a pool of workers that start, die and stop as a test decides."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait

import pytest
from small_jobs import named_job
from waiting import wait_until

from darts.running import pool
from darts.running.jobs import MAX_RESTARTS, ExecutorError, Job, Outcome
from darts.running.pool import MAX_FAILED_STARTS, PoolExecutor, Worker, WorkerDied
from darts.writing import WriteError

DONE = Outcome({"epochs": 1})
TIMEOUT = 30


class FakeWorker(Worker):
    """A worker in a thread.

    Starts and jobs raise or return the first of ``starts`` and ``runs``, if there is one, and wait
    for their gates, or for ``stop`` and ``kill``.
    """

    def __init__(
        self,
        name: str = "worker",
        *,
        starts: list[BaseException] | None = None,
        runs: list[Outcome | BaseException | None] | None = None,
        gate: threading.Event | None = None,
        start_gate: threading.Event | None = None,
    ) -> None:
        self.place = name
        self.starts, self.runs = starts or [], runs or []
        self.gate, self.start_gate = gate or opened(), start_gate or opened()
        self.alive = False
        self.asked = ""  # the last request to stop or to end
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")
        self._pass(self.start_gate)
        if self.starts:
            raise self.starts.pop(0)
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive

    def run(self, job: Job) -> Outcome | None:
        self.log.append(job.name)
        result = self.runs.pop(0) if self.runs else DONE
        if result is DONE and not self._pass(self.gate):
            return None
        self.alive = not isinstance(result, WorkerDied)
        if isinstance(result, BaseException):
            raise result
        return result

    def _pass(self, gate: threading.Event) -> bool:
        """Wait for a gate; return False after a request to stop."""
        while not gate.wait(0.005):
            if self.asked == "kill" or (self.asked == "stop" and gate is self.start_gate):
                self.alive, self.asked = False, ""
                raise WorkerDied("was stopped")
            if self.asked == "stop":
                self.asked = ""
                return False
        return True

    def stop(self) -> None:
        self.asked = "stop"

    def kill(self) -> None:
        self.asked = "kill"

    def end(self) -> None:
        self.log.append("end")
        self.alive = False


def opened() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_POLL", 0.01)


@pytest.fixture
def closed() -> Iterator[threading.Event]:
    """Return a gate that opens at the end of the test, if not before."""
    gate = threading.Event()
    yield gate
    gate.set()


def died() -> WorkerDied:
    return WorkerDied("was killed by SIGKILL")


def test_a_job_that_waits_for_a_worker_is_cancelled_at_once(closed: threading.Event) -> None:
    """The worker does not start, for example because the cluster has no free resources."""
    with PoolExecutor([FakeWorker(start_gate=closed)], 1) as executor:
        future = executor.submit(named_job("a"))
        assert future.place == ""
        assert future.cancel()
        assert wait([future], 0).done == {future}
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result()


def test_a_job_that_has_lost_its_worker_is_cancelled_at_once(closed: threading.Event) -> None:
    worker = FakeWorker()
    with PoolExecutor([worker], 1) as executor:
        assert executor.submit(named_job("first")).result(TIMEOUT) == DONE
        worker.runs, worker.start_gate = [died()], closed
        future = executor.submit(named_job("a"))
        wait_until(lambda: worker.log[-2:] == ["a", "start"])
        assert future.place == "worker"
        assert future.cancel()
        assert future.cancelled()


def test_a_lost_job_continues_with_the_next_idle_worker(closed: threading.Event) -> None:
    """It precedes jobs that have not begun, and does not wait for the restart of its worker."""

    class StartsOnce(FakeWorker):
        def start(self) -> None:
            super().start()
            self.start_gate = closed

    begin, gate = threading.Event(), threading.Event()
    first = StartsOnce("first", start_gate=begin, runs=[died()])
    second = FakeWorker("second", gate=gate)
    with PoolExecutor([first, second], 1) as executor:
        futures = [executor.submit(named_job("a"))]
        wait_until(lambda: "a" in second.log)
        futures += [executor.submit(named_job(name)) for name in ("b", "c")]
        begin.set()
        wait_until(lambda: first.log == ["start", "b", "start"])
        gate.set()
        assert [future.result(TIMEOUT) for future in futures] == [DONE] * 3
        assert second.log == ["start", "a", "b", "c"]
        assert [future.place for future in futures] == ["second"] * 3
        assert [future.losses for future in futures] == [0, 1, 0]


def test_a_job_fails_after_its_fourth_loss() -> None:
    """A worker that has died while it was idle does not count."""
    worker = FakeWorker(runs=[DONE, *[died() for _ in range(MAX_RESTARTS + 1)]])
    with PoolExecutor([worker], 1) as executor:
        assert executor.submit(named_job("first")).result(TIMEOUT) == DONE
        worker.alive = False
        future, other = executor.submit(named_job("a")), executor.submit(named_job("b"))
        assert future.result(TIMEOUT) == Outcome(None, "its worker was killed by SIGKILL")
        assert other.result(TIMEOUT) == DONE
    assert worker.log.count("a") == MAX_RESTARTS + 1


def test_a_lost_job_that_had_ended_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "earlier_outcome", lambda job: DONE)
    worker = FakeWorker(runs=[died()])
    with PoolExecutor([worker], 1) as executor:
        assert executor.submit(named_job("a")).result(TIMEOUT) == DONE
    assert worker.log.count("a") == 1


def test_a_signal_from_elsewhere_does_not_stop_a_job() -> None:
    worker = FakeWorker(runs=[None, None])
    with PoolExecutor([worker], 1) as executor:
        assert executor.submit(named_job("a")).result(TIMEOUT) == DONE
    assert worker.log.count("a") == 3


def test_workers_that_do_not_start_are_an_error_of_the_executor() -> None:
    """Later jobs are executed if the cause is gone."""
    deaths = [WorkerDied("exited with code 1") for _ in range(3)]
    full = WriteError(errno.ENOSPC, "cannot write: disk is full")
    with PoolExecutor([FakeWorker(starts=[*deaths, full])], 1) as executor:
        with pytest.raises(ExecutorError, match=r"^3 workers in a row died .* code 1$"):
            executor.submit(named_job("a")).result(TIMEOUT)
        with pytest.raises(WriteError, match="full"):
            executor.submit(named_job("b")).result(TIMEOUT)
        assert executor.submit(named_job("c")).result(TIMEOUT) == DONE


def test_workers_that_die_before_they_get_a_job_are_an_error_of_the_executor() -> None:
    """Later jobs are executed if the cause is gone."""

    class Fragile(FakeWorker):
        def is_alive(self) -> bool:
            return self.log.count("start") > MAX_FAILED_STARTS + 1

    worker = Fragile()
    with PoolExecutor([worker], 1) as executor:
        with pytest.raises(ExecutorError, match=r"^3 workers in a row died .* ended at once$"):
            executor.submit(named_job("a")).result(TIMEOUT)
        assert executor.submit(named_job("b")).result(TIMEOUT) == DONE
    assert worker.log == [*["start"] * (MAX_FAILED_STARTS + 2), "b", "end"]


def test_deaths_between_jobs_do_not_add_up() -> None:
    worker = FakeWorker()
    with PoolExecutor([worker], 1) as executor:
        for number in range(MAX_FAILED_STARTS + 2):
            assert executor.submit(named_job(f"{number}")).result(TIMEOUT) == DONE
            worker.alive = False


def test_errors_of_a_library_are_errors_of_the_executor() -> None:
    """They are one line, no job waits for ever, and later jobs are executed."""

    class Broken(FakeWorker):
        def is_alive(self) -> bool:
            if self.log.count("start") == 2:
                raise RuntimeError("no\nanswer")
            return super().is_alive()

    worker = Broken(starts=[ValueError("no such\nresource")], runs=[TypeError("no\npickle"), DONE])
    with PoolExecutor([worker], 1) as executor:
        for name, problem in (("a", "no such resource"), ("b", "no answer"), ("c", "no pickle")):
            with pytest.raises(ExecutorError, match=f"^{problem}$"):
                executor.submit(named_job(name)).result(TIMEOUT)
        assert executor.submit(named_job("d")).result(TIMEOUT) == DONE
    assert worker.log == ["start", "start", "start", "c", "d", "end"]


def test_the_end_of_the_context_cancels_all_jobs(closed: threading.Event) -> None:
    """One worker executes a job, one never starts, and jobs wait. A later job is also cancelled."""
    workers = [FakeWorker(gate=closed), FakeWorker(start_gate=closed)]
    with PoolExecutor(workers, 1) as executor:
        futures = [executor.submit(named_job(f"{n}")) for n in range(3)]
        wait_until(lambda: "0" in workers[0].log)
    futures.append(executor.submit(named_job("late")))
    assert all(future.cancelled() for future in futures)
    assert workers[0].log == ["start", "0", "end"]
    assert workers[1].log == ["start", "end"]


def test_a_start_that_misses_the_first_request_ends(closed: threading.Event) -> None:
    """A request has no effect before the process of the worker exists."""

    class Slow(FakeWorker):
        requests = 0

        def stop(self) -> None:
            self.requests += 1
            if self.requests > 2:
                super().stop()

    with PoolExecutor([Slow(start_gate=closed)], 1) as executor:
        future = executor.submit(named_job("a"))
    assert future.cancelled()


def test_ctrl_c_at_the_end_kills_the_workers(closed: threading.Event) -> None:
    class Stubborn(FakeWorker):
        """Saves for a long time after a request; the second request comes with a Ctrl-C."""

        requests = 0

        def stop(self) -> None:
            self.requests += 1
            if self.requests == 2:
                raise KeyboardInterrupt

    worker = Stubborn(gate=closed)
    with pytest.raises(KeyboardInterrupt), PoolExecutor([worker], 1) as executor:  # noqa: PT012
        futures = [executor.submit(named_job(name)) for name in ("a", "b")]
        wait_until(lambda: "a" in worker.log)
    assert all(future.cancelled() for future in futures)
    assert worker.log == ["start", "a", "end"]
    assert not worker.alive


def test_ctrl_c_in_the_context_kills_the_workers(closed: threading.Event) -> None:
    worker = FakeWorker(gate=closed)
    worker.stop = lambda: None  # type: ignore[method-assign]  # never stops
    with pytest.raises(KeyboardInterrupt), PoolExecutor([worker], 1) as executor:  # noqa: PT012
        future = executor.submit(named_job("a"))
        wait_until(lambda: "a" in worker.log)
        raise KeyboardInterrupt
    assert future.cancelled()
