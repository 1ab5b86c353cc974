"""Execution of jobs by workers, each of which executes many jobs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import LifoQueue
from typing import Protocol
from weakref import WeakSet

from darts.running.execution import earlier_outcome
from darts.running.jobs import Executor, Future, Job, Outcome

MAX_RESTARTS = 3  # of a job whose workers die, until the job has failed
MAX_FAILED_STARTS = 3  # of a worker in a row, until a job raises an error


class WorkerDied(Exception):
    """A worker has died; the message is a verb phrase, such as ``exited with code 1``."""


class Worker(Protocol):
    """Executes jobs, one after the other. After its death, it can start again.

    Attributes:
        place: Where it runs, for reports.
    """

    place: str

    def start(self) -> None:
        """Start, and wait until jobs can be executed; raise WorkerDied or WriteError."""
        ...

    def is_alive(self) -> bool:
        """Return False if the worker is known to have died since its start."""
        ...

    def run(self, job: Job) -> Outcome | None:
        """Execute a job; return None if a signal stopped it; raise WorkerDied or WriteError."""
        ...

    def stop(self) -> None:
        """Ask the job to save a checkpoint and stop, without waiting; also end a start."""
        ...

    def kill(self) -> None:
        """End the worker and its job at once."""
        ...

    def end(self) -> None:
        """End the worker after its job, and wait until it has ended."""
        ...


@dataclass(frozen=True)
class Unusable:
    """A worker that does not start, and why."""

    worker: Worker
    error: BaseException


class PoolExecutor(Executor):
    """Executes jobs by workers.

    Entering the context starts the workers, while this process continues. A job whose worker dies
    continues from its last checkpoint with the next idle worker, at most ``MAX_RESTARTS`` times.

    Leaving the context cancels all jobs and ends the workers, at once after Ctrl-C.
    """

    def __init__(self, workers: Sequence[Worker], threads: int) -> None:
        self.workers, self.threads = len(workers), threads
        self._workers = workers
        self._idle: LifoQueue[Worker | Unusable | None] = LifoQueue()  # None after the end
        self._jobs = ThreadPoolExecutor(self.workers)  # each thread waits for the job of a worker
        self._starts = ThreadPoolExecutor(self.workers)
        self._futures = WeakSet[Future]()
        self._ending = False

    def submit(self, job: Job) -> Future:
        """See ``Executor``."""
        future = Future(job)
        outcome = earlier_outcome(job)
        if outcome is not None:
            future.set_result(outcome)
        else:
            self._futures.add(future)
            self._jobs.submit(self._run, future)
        return future

    def _run(self, future: Future) -> None:
        if not future.set_running_or_notify_cancel():
            return
        deaths, outcome = 0, None
        try:
            while outcome is None:
                try:
                    with self._idle_worker() as worker:
                        outcome = _attempt(worker, future)
                except WorkerDied as death:
                    deaths += 1
                    outcome = earlier_outcome(future.job)  # it may have died at the very end
                    if outcome is None and deaths > MAX_RESTARTS:
                        outcome = Outcome(None, f"its worker {death}")
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(outcome)

    @contextmanager
    def _idle_worker(self) -> Iterator[Worker]:
        """Wait for an idle worker, and give it back; one that has died starts again."""
        while True:
            worker = self._idle.get()
            if worker is None:
                self._idle.put(None)  # for the next thread
                raise CancelledError
            if isinstance(worker, Unusable):
                self._starts.submit(self._start, worker.worker)
                raise worker.error
            if worker.is_alive():
                break
            self._starts.submit(self._start, worker)
        try:
            yield worker
        except WorkerDied:
            self._starts.submit(self._start, worker)
            raise
        except BaseException:
            self._idle.put(worker)
            raise
        self._idle.put(worker)

    def _start(self, worker: Worker) -> None:
        """Start a worker, and give it to the next job."""
        failures = 0
        while not self._ending:
            try:
                worker.start()
            except WorkerDied as death:
                failures += 1
                if failures == MAX_FAILED_STARTS:
                    error = ValueError(
                        f"{failures} workers in a row died while they started; the last one {death}"
                    )
                    self._idle.put(Unusable(worker, error))
                    break
            except BaseException as error:
                self._idle.put(Unusable(worker, error))
                break
            else:
                self._idle.put(worker)
                break

    def __enter__(self) -> PoolExecutor:
        for worker in self._workers:
            self._starts.submit(self._start, worker)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Cancel all jobs and end all workers; kill them after Ctrl-C during this call."""
        self._ending = True
        for future in list(self._futures):
            future.cancel()
        for worker in self._workers:  # also those that have not started yet
            worker.stop()
        self._idle.put(None)
        try:
            self._close(kill=isinstance(error, KeyboardInterrupt))
        except KeyboardInterrupt:
            self._close(kill=True)
            raise

    def _close(self, *, kill: bool) -> None:
        for worker in self._workers if kill else ():
            worker.kill()
        self._jobs.shutdown()
        self._starts.shutdown()
        for worker in self._workers:
            worker.end()


def _attempt(worker: Worker, future: Future) -> Outcome:
    """Execute a job with a worker; raise CancelledError if the job was cancelled."""
    future.place, future.stop = worker.place, worker.stop
    try:
        while not future.stopping:
            # A signal may stop the run. Unless it came from `cancel`, the run continues.
            outcome = worker.run(future.job)
            if outcome is not None:
                return outcome
        raise CancelledError
    finally:
        future.stop = lambda: None  # the worker executes other jobs now
