"""The time of a run of ``darts.find``."""

from __future__ import annotations

import time
from collections.abc import Callable

from darts.config import ConfigError, FindBudgetConfig
from darts.finding.decisions import Decisions

DEFAULT_SECONDS = 600.0
SAVE_INTERVAL = 5.0  # seconds


def budget_seconds(config: FindBudgetConfig) -> float:
    """Return the wall-clock time of the whole run in seconds.

    Raises:
        ConfigError: If hours and minutes are both set.
    """
    if config.hours is not None and config.minutes is not None:
        raise ConfigError(
            f"budget.hours={config.hours:g} and budget.minutes={config.minutes:g} are mutually "
            "exclusive; use one of them"
        )
    if config.hours is not None:
        return 3600 * config.hours
    return 60 * config.minutes if config.minutes is not None else DEFAULT_SECONDS


class Stopwatch:
    """The running time, summed over all resumes.

    If the process is killed, at most the last ``SAVE_INTERVAL`` seconds are not counted.

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
        self._saved = clock()
        self._start = self._saved if begin is None else begin

    @property
    def seconds(self) -> float:
        """Running time in seconds."""
        return self._previous + self._clock() - self._start

    def until(self, share: float) -> float:
        """Return the seconds until a share of the budget is used; negative afterwards."""
        return share * self.total - self.seconds

    def save(self, *, now: bool = False) -> None:
        """Save the running time, at most every ``SAVE_INTERVAL`` seconds unless ``now``."""
        if now or self._clock() - self._saved >= SAVE_INTERVAL:
            self._decisions.record("seconds", self.seconds)
            self._saved = self._clock()
