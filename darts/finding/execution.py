"""Execute the jobs of ``darts find``, measure the time, and stop after a signal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, wait
from dataclasses import dataclass, field
from pathlib import Path

from darts.finding.decisions import Decisions
from darts.running.jobs import Executor, ExecutorError, Job, Outcome
from darts.tracking import Console
from darts.tracking.metrics import read_metrics
from darts.training.interrupt import Interrupt, Interrupted

_POLL = 0.2  # seconds between two checks for signals


class Stopwatch:
    """The running time, summed over all resumes.

    If the process is killed, the time since the last ``save`` is lost, about a second.

    Args:
        total: The budget in seconds.
        decisions: File that stores the time.
        begin: Start of this process's part of the run, by the clock; None for now.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        total: float,
        decisions: Decisions,
        *,
        begin: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self._decisions, self._clock = total, decisions, clock
        self._previous = decisions.decide("seconds", float, lambda: 0.0)
        self._start = clock() if begin is None else begin

    @property
    def seconds(self) -> float:
        """Running time in seconds."""
        return self._previous + self._clock() - self._start

    def until(self, share: float) -> float:
        """Return the seconds until a share of the budget is used; negative afterwards."""
        return share * self.total - self.seconds

    def save(self) -> None:
        """Save the running time."""
        self._decisions.record("seconds", self.seconds)


def newest_epoch(job: Job) -> str:
    """Return the name of a job with its last epoch and loss."""
    file = job.directory / "metrics.jsonl"
    rows = read_metrics(file) if file.exists() else []
    shown = [f"{key} {row[key]:.4g}" for row in rows[-1:] for key in ("epoch", "train_loss")]
    return " ".join([job.name, *shown])


@dataclass
class Execution:
    """Executes jobs.

    Attributes:
        executor: Where jobs run.
        console: Shows progress; its steps are seconds.
        interrupt: Records signals.
        stopwatch: Measures the time that is left.
        ended: Time at which each run has ended, in seconds since the start.
        shown: Seconds that the console already shows.
    """

    executor: Executor
    console: Console
    interrupt: Interrupt
    stopwatch: Stopwatch
    ended: dict[Path, float] = field(default_factory=dict)
    shown: int = 0

    def run(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """Execute runs that are not long enough yet; return all outcomes by name.

        Warn of a run that has failed. Raise Interrupted after a signal, when everything complete is
        saved, and ExecutorError if no run can be executed.
        """
        if self.stopping():
            raise Interrupted
        futures = self.executor.submit_all(jobs)
        waiting = set(futures)
        while waiting:
            done, _ = wait(waiting, timeout=_POLL, return_when="FIRST_COMPLETED")
            waiting -= done
            if self.stopping([future.job for future in waiting]):
                for future in waiting:
                    future.cancel()
                wait(waiting)
                raise Interrupted
            for future in (own for own in futures if own in done):
                self.ended[future.job.directory] = self.stopwatch.seconds
                error = future.exception()
                if isinstance(error, ExecutorError):  # without waiting for the other runs
                    raise error
                if error is None and (outcome := future.result()).summary is None:
                    self.console.warn(f"{future.job.name}: {outcome.problem}")
        self.console.status("")
        try:
            return {future.job.name: future.result() for future in futures}
        except CancelledError:
            raise Interrupted from None

    def stopping(self, jobs: Sequence[Job] = ()) -> bool:
        """Advance the progress bar; return whether a signal has arrived.

        Show the epoch of a job that is alone.
        """
        seconds = int(min(self.stopwatch.seconds, self.stopwatch.total))
        if seconds > self.shown:
            self.console.step(seconds - self.shown, **self.executor.fields())
            self.console.status(newest_epoch(jobs[0]) if len(jobs) == 1 else "")
            self.shown = seconds
            self.stopwatch.save()
        return self.interrupt.received is not None
