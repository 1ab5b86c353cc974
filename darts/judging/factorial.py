"""The gains of the architecture, of the hyperparameters and of both, from a factorial design.

The design has four corners, {default, best} architecture x {default, best} hyperparameters. Each
corner is trained with the same seeds, which the search did not use. Gains are differences per seed,
so an effect of the seed that is common to all corners cancels out. A gain is positive if the best
is better than the default, whether or not higher scores are better.

References:
    Fisher, "The Design of Experiments", 1935.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = ("default", "best")

Corner = tuple[str, ...]
"""Levels of architecture and hyperparameters."""

DEFAULT: Corner = ("default", "default")
ARCHITECTURE_ONLY: Corner = ("best", "default")
HYPERPARAMETERS_ONLY: Corner = ("default", "best")
BOTH: Corner = ("best", "best")
_CORNERS = (DEFAULT, ARCHITECTURE_ONLY, HYPERPARAMETERS_ONLY, BOTH)

_GAINS: dict[str, dict[Corner, int]] = {
    "architecture": {ARCHITECTURE_ONLY: 1, DEFAULT: -1},
    "hyperparameters": {HYPERPARAMETERS_ONLY: 1, DEFAULT: -1},
    "both": {BOTH: 1, DEFAULT: -1},
    "interaction": {BOTH: 1, ARCHITECTURE_ONLY: -1, HYPERPARAMETERS_ONLY: -1, DEFAULT: 1},
}
"""Weight of each corner's score in each gain."""

Scores = Sequence[float] | Mapping[int, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: mean of the values.
        deviation: standard deviation of the values (divisor ``count - 1``); None for one seed.
        count: number of seeds.
        low, high: 95 % confidence interval of the mean (Student's t); None for one seed.
    """

    mean: float
    deviation: float | None
    count: int
    low: float | None
    high: float | None

    @classmethod
    def from_values(cls, values: Sequence[float] | NDArray[np.float64]) -> Estimate:
        """Estimate the mean of at least one value."""
        from scipy.stats import t

        values = np.asarray(values, dtype=np.float64)
        mean, count = float(values.mean()), len(values)
        if count == 1:
            return cls(mean, None, 1, None, None)
        deviation = float(values.std(ddof=1))
        half = float(t.ppf(0.975, count - 1)) * deviation / count**0.5
        return cls(mean, deviation, count, mean - half, mean + half)

    def as_scalars(self, name: str) -> dict[str, float]:
        """Return ``name``, ``name_deviation``, ``name_count``, ``name_low`` and ``name_high``.

        Values that are None are left out.
        """
        scalars = {
            name: self.mean,
            f"{name}_deviation": self.deviation,
            f"{name}_count": self.count,
            f"{name}_low": self.low,
            f"{name}_high": self.high,
        }
        return {key: value for key, value in scalars.items() if value is not None}


@dataclass(frozen=True)
class FactorialEffects:
    """Scores and gains of a factorial design.

    Attributes:
        scores: by corner ``<architecture>_<hyperparameters>``, for example ``best_default``; in
            the units of the score.
        gains: ``architecture`` and ``hyperparameters`` alone, ``both``, and ``interaction``, the
            gain of both beyond the sum of the two. Gains whose corners are missing are left out.
        higher_is_better: direction of the scores.
    """

    scores: dict[str, Estimate]
    gains: dict[str, Estimate]
    higher_is_better: bool

    def as_scalars(self) -> dict[str, float]:
        """Return all numbers: ``gain_architecture``, ``gain_architecture_low``, ..."""
        scalars: dict[str, float] = {}
        for name, estimate in self.gains.items():
            scalars |= estimate.as_scalars(f"gain_{name}")
        for name, estimate in self.scores.items():
            scalars |= estimate.as_scalars(f"score_{name}")
        return scalars


def factorial_effects(
    scores: Mapping[Corner, Scores], *, higher_is_better: bool = True
) -> FactorialEffects:
    """Compute gains from the scores of the corners.

    Args:
        scores: one score per seed for each corner: a mapping from seeds, or a list in the order of
            the seeds. A gain uses the seeds that all its corners have. Corners may be missing; a
            gain without seeds is left out.
        higher_is_better: direction of the scores.

    Raises:
        ValueError: in one line, for an unknown corner, without the default corner or any other,
            for lists of different lengths, and for a score that is not finite.
    """
    by_seed = {corner: _scores_by_seed(corner, own) for corner, own in scores.items()}
    by_seed = {corner: own for corner, own in by_seed.items() if own}
    if DEFAULT not in by_seed:
        raise ValueError("the default architecture with default hyperparameters has no score")
    if len(by_seed) == 1:
        raise ValueError("only the default has scores; a gain needs another corner")
    lengths = {len(own) for own in scores.values() if not isinstance(own, Mapping) and len(own)}
    if len(lengths) > 1:
        raise ValueError(
            f"corners have lists of {sorted(lengths)} scores; pass mappings from seeds instead"
        )
    sign = 1.0 if higher_is_better else -1.0
    gains = {}
    for name, weights in _GAINS.items():
        if not all(corner in by_seed for corner in weights):
            continue
        seeds = set.intersection(*(set(by_seed[corner]) for corner in weights))
        values = [
            sign * sum(weight * by_seed[corner][seed] for corner, weight in weights.items())
            for seed in sorted(seeds)
        ]
        if values:
            gains[name] = Estimate.from_values(values)
    corners = {
        "_".join(corner): Estimate.from_values(list(by_seed[corner].values()))
        for corner in _CORNERS
        if corner in by_seed
    }
    return FactorialEffects(corners, gains, higher_is_better)


def _scores_by_seed(corner: Corner, scores: Scores) -> dict[int, float]:
    if corner not in _CORNERS:
        choices = ", ".join(str(pair) for pair in _CORNERS)
        raise ValueError(f"unknown corner {corner!r}; choose from {choices}")
    pairs = scores.items() if isinstance(scores, Mapping) else enumerate(scores)
    by_seed = {seed: float(score) for seed, score in pairs}
    for seed, score in by_seed.items():
        if not np.isfinite(score):
            raise ValueError(f"the score of {corner} with seed {seed} is {score}; must be finite")
    return by_seed
