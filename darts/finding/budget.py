"""The time of a run of ``darts.find``."""

from __future__ import annotations

import time
from collections.abc import Callable

from darts.config import ConfigError, FindBudgetConfig
from darts.finding.decisions import Decisions


def budget_seconds(config: FindBudgetConfig) -> float:
    """Return the wall-clock time of the whole run in seconds."""
    if config.hours is not None and config.minutes is not None:
        raise ConfigError(
            f"budget.hours={config.hours:g} and budget.minutes={config.minutes:g} are mutually "
            "exclusive; use one of them, and null for the other"
        )
    if config.hours is not None:
        return 3600 * config.hours
    return 60 * (config.default_minutes if config.minutes is None else config.minutes)


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
