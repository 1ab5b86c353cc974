"""Executors with a queue in this process: their base, and a pool of workers.

Each worker executes many jobs, one after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import partial
from threading import Condition, Thread
from typing import Protocol

from darts.reading import one_line
from darts.running.execution import earlier_outcome, new_future
from darts.running.jobs import MAX_RESTARTS, Executor, ExecutorError, Future, Job, Outcome


class QueueExecutor(Executor):
    """Puts jobs into a queue, from which the threads of a subclass take them.

    Leaving the context cancels all jobs and waits until they have ended, but not after Ctrl-C.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self.workers, self.threads = workers, threads
        self._waiting: deque[Future] = deque()
        self._ending = False
        self._changed = Condition()  # guards the two attributes above

    def submit_all(self, jobs: Sequence[Job]) -> list[Future]:
        futures = [new_future(job, self.log) for job in jobs]
        self._enqueue([future for future in futures if not future.done()])
        return futures

    def _enqueue(self, futures: Sequence[Future], *, first: bool = False) -> None:
        """Put jobs at the end or, in reverse order, at the beginning of the queue."""
        for future in futures:
            future.stop = partial(self._drop, future)
        with self._changed:
            (self._waiting.extendleft if first else self._waiting.extend)(futures)
            self._changed.notify_all()
        for future in futures:
            if self._ending or future.stopping:
                self._drop(future)

    def _drop(self, future: Future) -> None:
        """Cancel a job if it waits in the queue."""
        with self._changed:
            if future not in self._waiting:
                return
            self._waiting.remove(future)
        future.set_exception(CancelledError())

    def _settle(self, future: Future, reply: Outcome | BaseException | None) -> None:
        """Set the result of a job; without a reply, it is the next one in the queue."""
        if isinstance(reply, Outcome):
            future.set_result(reply)
        elif reply is None:
            self._enqueue([future], first=True)
        else:
            is_known = isinstance(reply, (OSError, ExecutorError, CancelledError))
            # An error of a library is not the fault of the job.
            future.set_exception(reply if is_known else ExecutorError(one_line(reply)))

    def _reply_of_lost(self, future: Future, problem: str) -> Outcome | None:
        """Return the outcome of a job that has lost its worker, or None to execute it again."""
        future.losses += 1
        outcome = earlier_outcome(future.job)  # the worker may have died at the very end
        if outcome is None and future.losses > MAX_RESTARTS and not self._ending:
            return Outcome(None, problem)
        return outcome

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._end(at_once=isinstance(error, KeyboardInterrupt))
        except KeyboardInterrupt:
            self._end(at_once=True)
            raise

    def _end(self, *, at_once: bool) -> None:
        """Cancel the jobs in the queue; a subclass adds that its threads cancel theirs and end."""
        with self._changed:
            self._ending = True
            for future in list(self._waiting):
                self._drop(future)
            self._changed.notify_all()


MAX_FAILED_STARTS = 3  # of a worker, in a row until a job raises an error
_POLL = 0.2  # seconds between two requests to workers to end


class WorkerDied(Exception):
    """A worker has died; the message is a verb phrase, such as ``exited with code 1``."""


class Worker(Protocol):
    """Executes jobs, one after the other. After its death, it can start again.

    One thread calls all methods, except that other threads call ``stop`` and ``kill``.

    Attributes:
        place: Where it runs, for reports.
    """

    place: str

    def start(self) -> None:
        """Start, and wait until jobs can be executed.

        Raise WorkerDied, or an error for which no worker can start: WriteError, ExecutorError.
        """

    def is_alive(self) -> bool:
        """Return whether the worker lives, while it executes no job."""

    def run(self, job: Job) -> Outcome | None:
        """Execute a job; return None if a signal stopped it; raise WorkerDied or OSError."""

    def stop(self) -> None:
        """Ask the job to save a checkpoint and stop, without waiting; also end a start."""

    def kill(self) -> None:
        """End the worker and its job at once, without waiting."""

    def end(self) -> None:
        """End the worker, which executes no job, and wait until it has ended."""


class PoolExecutor(QueueExecutor):
    """Executes jobs by workers.

    Entering the context starts the workers, while this process continues. A job whose worker dies
    continues from its last checkpoint with the next idle worker, at most ``MAX_RESTARTS`` times.

    Leaving the context also ends the workers, at once after Ctrl-C.
    """

    def __init__(self, workers: Sequence[Worker], threads: int) -> None:
        super().__init__(len(workers), threads)
        self._workers = workers
        self._threads: list[Thread] = []  # one for each worker

    def _serve(self, worker: Worker) -> None:
        """Execute jobs with a worker, until the end of the context."""
        problem = self._start(worker)
        while (future := self._next()) is not None:
            reply: Outcome | BaseException | None = problem
            is_ready = False
            try:
                if problem is None and (is_ready := worker.is_alive()):
                    reply = self._execute(future, worker)
            except BaseException as error:
                reply = error
            self._settle(future, reply)  # first, because another worker may be idle
            if not is_ready:
                problem = self._start(worker)
        worker.end()

    def _next(self) -> Future | None:
        """Wait for a job; return None at the end of the context."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            return None if self._ending else self._waiting.popleft()

    def _start(self, worker: Worker) -> BaseException | None:
        """Start a worker; return the reason if it does not start."""
        problem: BaseException | None = None
        for _ in range(MAX_FAILED_STARTS):
            if self._ending:
                break
            try:
                worker.start()
                if worker.is_alive():
                    return None
                raise WorkerDied("ended at once")
            except WorkerDied as death:
                text = "workers in a row died while they started; the last one"
                problem = ExecutorError(f"{MAX_FAILED_STARTS} {text} {death}")
            except BaseException as error:
                return error
        return problem

    def _execute(self, future: Future, worker: Worker) -> Outcome | None:
        """Return the outcome of a job, or None if its worker has died; raise CancelledError."""
        future.start(worker.place, worker.stop)
        try:
            while not (future.stopping or self._ending):
                # A signal may stop the run. Unless it came from `cancel`, the run continues.
                outcome = worker.run(future.job)
                if outcome is not None:
                    return outcome
            raise CancelledError
        except WorkerDied as death:
            return self._reply_of_lost(future, f"its worker {death}")
        finally:
            future.stop = lambda: None  # the worker executes other jobs now

    def __enter__(self) -> PoolExecutor:
        for worker in self._workers:
            # A daemon, so that a worker that does not end never blocks the end of this process.
            self._threads.append(Thread(target=self._serve, args=(worker,), daemon=True))
            self._threads[-1].start()
        return self

    def _end(self, *, at_once: bool) -> None:
        """Stop or kill all workers, and wait until they have ended."""
        super()._end(at_once=at_once)
        for thread in self._threads:
            while thread.is_alive():
                # Again and again, because a worker that is just starting may miss a request.
                for worker in self._workers:
                    (worker.kill if at_once else worker.stop)()
                thread.join(_POLL)
