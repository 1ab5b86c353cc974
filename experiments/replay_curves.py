"""Recorded learning curves, and what a training run of a given length would have reached."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darts.finding.candidates import BASELINE
from darts.finding.results import FIRST_EPOCHS
from darts.reading import JsonObject, read_json
from darts.recipes.rules import DEFAULT

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """The learning curve of a candidate. Higher values are better.

    Attributes:
        name: Name of the candidate.
        is_baseline: Whether its architecture is a baseline.
        has_setting: Whether its setting differs from the recipe.
        seconds: Seconds of training after each epoch, ``(N,)``.
        epochs: The epochs, ``(N,)``.
        values: Best value so far after each epoch, ``(N,)``.
        best_epochs: The epoch of the best value so far, ``(N,)``.
        losses: Loss at that epoch, ``(N,)``.
        first_epochs: Epochs of the first slice in the race of ``darts.find``.
        start: Value of a run that has not completed an epoch.
    """

    name: str
    is_baseline: bool
    has_setting: bool
    seconds: list[float]
    epochs: list[float]
    values: list[float]
    best_epochs: list[float]
    losses: list[float]
    first_epochs: int
    start: float

    def index(self, seconds: float) -> int:
        """Return the index of the last epoch within a time; -1 before the first one."""
        return bisect.bisect_right(self.seconds, seconds + 1e-9) - 1

    def value(self, seconds: float) -> float:
        """Return the best value within a time; a run cannot be longer than its recording."""
        index = self.index(seconds)
        return self.start if index < 0 else self.values[index]

    def rank(self, seconds: float) -> tuple[float, float]:
        """Return what orders candidates: the value, then the loss; higher is better."""
        index = self.index(seconds)
        return (self.start, -math.inf) if index < 0 else (self.values[index], -self.losses[index])

    def is_exhausted(self, seconds: float) -> bool:
        """Return whether the second half of the epochs brought no better value.

        This is ``Result.is_exhausted`` of ``darts.find``.
        """
        index = self.index(seconds)
        return index >= 0 and self.epochs[index] > 2 * self.best_epochs[index] + FIRST_EPOCHS

    def epoch_seconds(self, epoch: int) -> float:
        """Return the seconds of the first epochs."""
        index = bisect.bisect_left(self.epochs, epoch)
        return self.seconds[min(index, len(self.seconds) - 1)]

    @cached_property
    def _sums(self) -> Numbers:
        """Sums over the first epochs of x, y, x² and xy: logarithms of seconds and of gaps."""
        x = np.log(np.array(self.seconds))
        y = np.log(np.maximum(-np.array(self.values), 1e-6))
        return np.cumsum([np.append(0.0, column) for column in (x, y, x * x, x * y)], axis=1)

    def forecast(self, now: float, end: float) -> float:
        """Extrapolate the value at ``end`` from the epochs until ``now``, by a power law.

        The logarithm of the gap to a perfect value is a line in the logarithm of time, fitted to
        the last half of the epochs. Only values below 0 have a gap.
        """
        last = self.index(now) + 1
        value = self.value(now)
        first = last // 2
        count = last - first
        if count < 3:
            return value
        x, y, xx, xy = self._sums[:, last] - self._sums[:, first]
        spread = xx - x * x / count
        slope = min((xy - x * y / count) / spread, 0.0) if spread > 1e-9 else 0.0
        return value * float((end / now) ** slope) if end > now else value


@dataclass(frozen=True)
class Recording:
    """The curves of a data set.

    Attributes:
        data: Name of the data set.
        metric: Name of the score.
        higher_is_better: Whether higher scores are better.
        seconds: Length of the runs.
        curves: The curves; their values are scores minus 1, or minus scores.
    """

    data: str
    metric: str
    higher_is_better: bool
    seconds: float
    curves: list[Curve]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a file of ``record_curves.py``; candidates without a complete epoch are left out."""
        table = read_json(path)
        higher = bool(table["higher_is_better"])
        rows = [row for row in table["candidates"] if row["scores"]]
        sign = 1 if higher else -1
        values = [[sign * score - higher for score in row["scores"]] for row in rows]
        start = min(own[0] for own in values)
        length = float(table["seconds"])
        for row in rows:  # time ends a run within an epoch, whose validation comes later
            row["seconds"] = [min(seconds, length) for seconds in row["seconds"]]
        first = int(table["first_epochs"])
        curves = [_curve(row, own, first, start) for row, own in zip(rows, values, strict=True)]
        return cls(table["data"], table["metric"], higher, length, curves)

    def score(self, value: float) -> float:
        """Return the score of a value."""
        return value + 1 if self.higher_is_better else -value


def _curve(row: JsonObject, values: list[float], first: int, start: float) -> Curve:
    chosen = [0]  # index of the best value so far
    for index, value in enumerate(values[1:], 1):
        chosen.append(index if value > values[chosen[-1]] else chosen[-1])
    return Curve(
        row["name"],
        row["origin"] == BASELINE,
        row["setting"] != DEFAULT.name,
        row["seconds"],
        row["epochs"],
        [values[index] for index in chosen],
        [row["epochs"][index] for index in chosen],
        [row["losses"][index] for index in chosen],
        first,
        start,
    )
