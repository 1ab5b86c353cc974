"""The queue of a run pool: the waiting runs, and the outcomes of the runs that have ended."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from darts.finding.run_worker import Job, Outcome, earlier_outcome

MAX_ATTEMPTS = 2  # of a run whose worker dies


class RunQueue:
    """The jobs of one call of ``RunPool.run``.

    Attributes:
        waiting: Jobs to start, in order.
        outcomes: Outcomes by name of the job.
        stopped: Whether no more runs start.
    """

    def __init__(self, jobs: Sequence[Job], on_done: Callable[[Job, Outcome], None]) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.waiting: deque[Job] = deque()
        self.stopped = False
        self._on_done = on_done
        self._attempts = Counter[str]()  # by name of the job
        for job in jobs:
            outcome = earlier_outcome(job)
            if outcome is None:
                self.waiting.append(job)
            else:
                self.outcomes[job.name] = outcome

    def stop(self) -> None:
        """Start no more runs."""
        self.stopped = True
        self.waiting.clear()

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Record the outcome of a job."""
        self.outcomes[job.name] = outcome
        self._on_done(job, outcome)

    def put_back(self, job: Job) -> None:
        """Continue an interrupted job next, unless the queue is stopped."""
        if not self.stopped:
            self.waiting.appendleft(job)

    def lose(self, job: Job, reason: str) -> None:
        """Continue a job whose worker has died, or record that it failed."""
        self._attempts[job.name] += 1
        outcome = earlier_outcome(job)
        if outcome is not None:  # the worker died at the very end
            self.finish(job, outcome)
        elif self._attempts[job.name] < MAX_ATTEMPTS:
            self.put_back(job)
        elif not self.stopped:
            self.finish(job, Outcome(None, reason))
