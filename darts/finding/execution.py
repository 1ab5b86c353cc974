"""Execute the jobs of ``darts.find``, show the time that is left, and stop after a signal."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as AnyFuture
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from pathlib import Path

from darts.finding.budget import Stopwatch
from darts.running.jobs import Executor, ExecutorError, Future, Job, Outcome
from darts.tracking import Console
from darts.training.interrupt import Interrupt

_POLL = 0.2  # seconds between two checks for signals


class Stopped(Exception):
    """The user has interrupted the race; everything that is complete is saved."""


@dataclass
class Execution:
    """Executes jobs.

    Attributes:
        executor: Where jobs run.
        console: Shows progress; its steps are seconds.
        interrupt: Records signals.
        stopwatch: Measures the time that is left.
        ended: Time at which each run has ended, in seconds since the start.
    """

    executor: Executor
    console: Console
    interrupt: Interrupt
    stopwatch: Stopwatch
    ended: dict[Path, float] = field(default_factory=dict)
    _shown: int = 0

    def run(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """Execute runs that are not long enough yet; return all outcomes by name.

        Raise Stopped after a signal, and ExecutorError if no run can be executed.
        """
        if self._stopping():
            raise Stopped
        futures = self.executor.submit_all(jobs)
        waiting: set[AnyFuture[Outcome]] = set(futures)
        while waiting:
            done, _ = wait_for(waiting, timeout=_POLL, return_when="FIRST_COMPLETED")
            waiting -= done
            if self._stopping():
                for future in waiting:
                    future.cancel()
                wait_for(waiting)
                self.stopwatch.save()
                raise Stopped
            for future in futures:
                if future in done:
                    self.ended[future.job.directory] = self.stopwatch.seconds
                    self._check(future)
        try:
            return {future.job.name: future.result() for future in futures}
        except CancelledError:
            raise Stopped from None

    def _check(self, future: Future) -> None:
        """Warn of a run that has failed; raise ExecutorError without waiting for other runs."""
        error = future.exception()
        if isinstance(error, ExecutorError):
            raise error
        if error is None and (outcome := future.result()).summary is None:
            self.console.warn(f"{future.job.name}: {outcome.problem}")

    def _stopping(self) -> bool:
        """Advance the progress bar; return whether a signal has arrived."""
        seconds = int(min(self.stopwatch.seconds, self.stopwatch.total))
        if seconds > self._shown:
            self.console.step(seconds - self._shown, **self.executor.fields())
            self._shown = seconds
            self.stopwatch.save()
        return self.interrupt.received is not None
