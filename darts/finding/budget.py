"""The time of a run of ``darts.find``, and how a round divides its time among trainings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from darts.config import ConfigError, FindBudgetConfig
from darts.finding.decisions import Decisions

DEFAULT_SECONDS = 600.0
MARGIN = 0.92
"""Share of the budget that is planned; the rest is a reserve for delays."""

SAVE_INTERVAL = 5.0  # seconds


def budget_seconds(config: FindBudgetConfig) -> float:
    """Return the wall-clock time of the whole run in seconds.

    Raises:
        ConfigError: If hours and minutes are both set.
    """
    if config.hours is not None and config.minutes is not None:
        raise ConfigError(
            f"budget.hours={config.hours:g} and budget.minutes={config.minutes:g} exclude each "
            "other; use one of them"
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

    @property
    def left(self) -> float:
        """Planned seconds that are left, at least 0."""
        return max(MARGIN * self.total - self.seconds, 0.0)

    def save(self, *, now: bool = False) -> None:
        """Save the running time, at most every ``SAVE_INTERVAL`` seconds unless ``now``."""
        if now or self._clock() - self._saved >= SAVE_INTERVAL:
            self._decisions.record("seconds", self.seconds)
            self._saved = self._clock()


RUN_OVERHEAD = 1.0
"""Seconds to start and end a training in a worker."""


@dataclass(frozen=True)
class RoundTime:
    """The time of a round, which its trainings share equally.

    Attributes:
        seconds: Wall-clock seconds of the round.
        max_epochs: Largest number of epochs of a training.
        overhead: Seconds of a training that do not depend on its epochs.
        workers: Number of trainings that run at the same time.
        repeats: Number of equal trainings of each network. Costs are those of all of them.
    """

    seconds: float
    max_epochs: int
    overhead: float = 0.0
    workers: int = 1
    repeats: int = 1

    def _left(self, count: int) -> float:
        """Return the sum of the seconds that ``count`` networks have after their start.

        Three equal trainings on two workers take as long as four.
        """
        trainings = self.repeats * count
        return (self.seconds / math.ceil(trainings / self.workers) - self.overhead) * trainings

    def divide(
        self, costs: Mapping[str, float], *, min_epochs: int = 1, equal: str = "time"
    ) -> dict[str, int]:
        """Return the number of epochs of each training.

        If some trainings would have fewer than ``min_epochs`` epochs, the most expensive ones are
        dropped, but never the first. A training that would exceed ``max_epochs`` leaves its time to
        the others.

        Args:
            costs: Seconds per epoch by name of the network, the most important first.
            min_epochs: Smallest useful number of epochs.
            equal: What all trainings have in common: "time" or "epochs".
        """
        divide = {"time": self._equal_times, "epochs": self._equal_epochs}[equal]
        names = list(costs)
        while len(names) > 1 and min(divide(costs, names).values()) < min_epochs:
            # Drop the most expensive of the trainings that have too few epochs.
            epochs = divide(costs, names)
            short = [name for name in names[1:] if epochs[name] < min_epochs] or names[1:]
            names.remove(max(short, key=lambda name: (costs[name], names.index(name))))
        return divide(costs, names)

    def _equal_epochs(self, costs: Mapping[str, float], names: Sequence[str]) -> dict[str, int]:
        left = self._left(len(names))
        epochs = left / max(sum(costs[name] for name in names), 1e-6)
        return dict.fromkeys(names, int(min(max(epochs, 1), self.max_epochs)))

    def _equal_times(self, costs: Mapping[str, float], names: Sequence[str]) -> dict[str, int]:
        left = self._left(len(names))
        epochs = dict.fromkeys(names, 1)
        # The cheapest trainings first: the time that they do not need goes to the others.
        for place, name in enumerate(sorted(names, key=lambda name: costs[name])):
            cost = max(costs[name], 1e-6)
            share = left / (len(names) - place)
            epochs[name] = int(min(max(share / cost, 1), self.max_epochs))
            left = max(left - epochs[name] * cost, 0.0)
        return epochs
