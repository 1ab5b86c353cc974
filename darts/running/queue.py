"""The queue of jobs that wait in this process, as the base of executors."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import partial
from threading import Condition

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
        """See ``Executor``."""
        futures = [new_future(job) for job in jobs]
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
