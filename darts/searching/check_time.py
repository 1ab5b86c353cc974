"""The time budget of collapse checks, their progress messages, and their end on Ctrl-C."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from darts.config import SearchConfig
from darts.tracking import Console
from darts.training.distributed import Ranks
from darts.training.interrupt import Interrupt
from darts.training.run import TrainingRun

DRY_SECONDS = 10.0
"""Seconds after which a dry run ends a measurement and extrapolates its remaining parts."""

T = TypeVar("T")
Poll = Callable[[int, int], None]
"""Called before each part of a measurement with the numbers of finished parts and of all parts.

It raises ``OutOfTime`` or ``CheckInterrupted`` to end the measurement.
"""


class CheckInterrupted(Exception):
    """A signal arrived during a collapse check, which must be repeated."""


class OutOfTime(Exception):
    """A measurement takes longer than it may.

    Attributes:
        rest: Seconds that its remaining parts would take.
    """

    def __init__(self, rest: float) -> None:
        super().__init__(rest)
        self.rest = rest


def has_budget(config: SearchConfig) -> bool:
    """Return whether the time of collapse checks is limited.

    There is no limit if a check may end the search, because the result must not depend on time.
    """
    collapse = config.collapse
    may_end = collapse.action != "warn" or config.stopping.needs_curvature
    return collapse.time_share > 0 and not may_end


class CheckPacer:
    """Starts the measurements of collapse checks if there is time, and ends slow ones.

    A measurement is expected to need as long as the last one of its name, or twice as long if that
    one was ended. Rank 0 decides for all ranks.

    Args:
        ranks: Processes of the search.
        seconds_left: Returns the seconds that measurements may take from now on; infinite without
            a budget.
        step_seconds: Returns the mean seconds of a training step so far.
        dry: Whether to start measurements even if there is not enough time, because a dry run
            extrapolates those that it ends.
        max_steps: Measurements that typically take longer than this number of training steps are
            never started.

    Attributes:
        interrupted: Returns whether a signal has arrived.
        show: Shows a text on the status line; an empty text clears it.
        skipped: Names of the measurements that the last check did not start, or ended early.
        skipped_seconds: Estimated seconds of all parts left out so far by measurements that were
            ended early.
    """

    def __init__(
        self,
        ranks: Ranks,
        *,
        seconds_left: Callable[[], float] = lambda: math.inf,
        step_seconds: Callable[[], float] = lambda: 0.0,
        dry: bool = False,
        max_steps: float = math.inf,
    ) -> None:
        self._ranks, self._dry, self._max_steps = ranks, dry, max_steps
        self._seconds_left, self._step_seconds = seconds_left, step_seconds
        self._needed: dict[str, float] = {}
        self.interrupted: Callable[[], bool] = lambda: False
        self.show: Callable[[str], None] = lambda text: None
        self.skipped: list[str] = []
        self.skipped_seconds = 0.0
        self._noticed = dry

    @classmethod
    def of_search(
        cls, config: SearchConfig, run: TrainingRun, steps: Callable[[], int], *, total_steps: int
    ) -> CheckPacer:
        """Return the pacer of a search, whose budget is ``collapse.time_share``.

        Args:
            config: Configuration of the search.
            run: Measures the time, including that before a resume.
            steps: Returns the number of training steps so far.
            total_steps: Number of training steps of the whole search.
        """
        if config.dry_run:
            # A run never starts a measurement that exceeds the budget of the whole run. The factor
            # 2 allows for the time that a run spends on other work than training steps.
            affordable = 2 * config.collapse.time_share * total_steps
            max_steps = affordable if has_budget(config) else math.inf
            return cls(run.ranks, seconds_left=lambda: DRY_SECONDS, dry=True, max_steps=max_steps)
        if not has_budget(config):
            return cls(run.ranks)

        def seconds_left() -> float:
            seconds = run.phase_seconds()
            return config.collapse.time_share * sum(seconds.values()) - seconds["collapse"]

        def step_seconds() -> float:
            return run.phase_seconds()["training"] / max(1, steps())

        return cls(run.ranks, seconds_left=seconds_left, step_seconds=step_seconds)

    def connect(self, interrupt: Interrupt, console: Console) -> None:
        """Let a signal end measurements, and show measurements on a console."""
        self.interrupted = lambda: interrupt.received is not None
        self.show = console.status

    def notice(self) -> str | None:
        """Return a line about skipped measurements the first time that there are any, else None."""
        if self._noticed or not self.skipped:
            return None
        self._noticed = True
        names = " and ".join(self.skipped)
        return (
            f"collapse checks leave out {names} as long as they would take more than "
            "collapse.time_share of the search's time"
        )

    def measure(self, name: str, work: Callable[[Poll], T], *, steps: int) -> T | None:
        """Return the result of a measurement, or None if there is not enough time for it.

        Args:
            name: What is measured, in words.
            work: Performs the measurement; must call its argument before each part.
            steps: Number of training steps that typically take as long as the measurement.

        Raises:
            CheckInterrupted: If a signal arrives.
        """
        left, step = self._ranks.broadcast((self._seconds_left(), self._step_seconds()))
        too_long = left < self._needed.get(name, steps * step) and not self._dry
        if too_long or steps > self._max_steps:
            self.skipped.append(name)
            return None
        self.show(f"collapse check: {name}")
        clock = _Clock(left)
        try:
            result = work(partial(self._poll, name, clock))
        except OutOfTime as end:
            self._needed[name] = 2 * clock.elapsed()
            self.skipped.append(name)
            self.skipped_seconds += end.rest
            return None
        finally:
            self.show("")
        self._needed[name] = clock.elapsed()
        return result

    def _poll(self, name: str, clock: _Clock, done: int, total: int) -> None:
        # Rank 0 knows the time, but any rank may have received a signal.
        if self._ranks.all_reduce_max(bool(self.interrupted())):
            raise CheckInterrupted
        if self._ranks.broadcast(clock.is_over(done)):
            raise OutOfTime(clock.seconds_per_part(done) * (total - done))
        if total > 1:
            self.show(f"collapse check: {name}, part {done + 1} of at most {total}")


class _Clock:
    """Time of one measurement, which may take ``left`` seconds but always computes one part."""

    def __init__(self, left: float) -> None:
        self._left = left
        self._start = self._first_part = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def is_over(self, done: int) -> bool:
        if done == 0:
            self._first_part = time.monotonic()  # the preparation has ended
        return done > 0 and self.elapsed() >= self._left

    def seconds_per_part(self, done: int) -> float:
        return (time.monotonic() - self._first_part) / done
