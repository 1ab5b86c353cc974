"""What the architecture gained, what the hyperparameters gained, and what both did together.

The design has the corners {default A, best A} x {default H, best H}, each trained with the same
seeds, which the search did not use. Gains are differences seed by seed, so that what a seed does to
all corners alike is no noise. A gain is above 0 where the best is better than the default, whether
or not higher scores are better.

References:
    Fisher, "The Design of Experiments", 1935.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = ("default", "best")
START, A_ALONE, H_ALONE, BOTH = (
    ("default", "default"),
    ("best", "default"),
    ("default", "best"),
    ("best", "best"),
)
_CORNERS = (START, A_ALONE, H_ALONE, BOTH)

Scores = Sequence[float] | Mapping[int, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: of the values.
        deviation: of a single value (divisor ``count - 1``); None for one seed.
        count: of seeds.
        low, high: Student's 95 % interval of the mean; None for one seed.
    """

    mean: float
    deviation: float | None
    count: int
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64]) -> Estimate:
        """The estimate from at least one value."""
        from scipy.stats import t

        values = np.asarray(values, dtype=np.float64)
        mean, count = float(values.mean()), len(values)
        if count == 1:
            return cls(mean, None, 1, None, None)
        deviation = float(values.std(ddof=1))
        half = float(t.ppf(0.975, count - 1)) * deviation / count**0.5
        return cls(mean, deviation, count, mean - half, mean + half)

    def flat(self, name: str) -> dict[str, float]:
        """``name``, ``name_count``, ``name_deviation``, ``name_low``, ``name_high``, as known."""
        found = {
            name: self.mean,
            f"{name}_deviation": self.deviation,
            f"{name}_count": self.count,
            f"{name}_low": self.low,
            f"{name}_high": self.high,
        }
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Factorial:
    """The design in numbers.

    Attributes:
        scores: by corner, called ``<architecture>_<hyperparameters>``, such as ``best_default``;
            in the score's own direction.
        gains: ``architecture`` and ``hyperparameters`` of one alone, ``both``, and ``interaction``,
            which is what both gain beyond the sum of the two; those that the corners tell.
        higher_is_better: the direction of the scores.
    """

    scores: dict[str, Estimate]
    gains: dict[str, Estimate]
    higher_is_better: bool

    def flat(self) -> dict[str, float]:
        """All numbers in one level: ``gain_architecture``, ``gain_architecture_low``, ..."""
        found: dict[str, float] = {}
        for name, estimate in self.gains.items():
            found |= estimate.flat(f"gain_{name}")
        for name, estimate in self.scores.items():
            found |= estimate.flat(f"score_{name}")
        return found


def factorial(
    scores: Mapping[tuple[str, ...], Scores], *, higher_is_better: bool = True
) -> Factorial:
    """Gains from the scores of the corners.

    Args:
        scores: by corner, a pair of "default" or "best" for architecture and hyperparameters: one
            score a seed, as a list in the order of the seeds or by seed. A gain counts the seeds
            that all its corners have; a corner may be missing, and a gain without seeds is left
            out.
        higher_is_better: the direction of the scores.

    Raises:
        ValueError: in one line, for an unknown corner, without the default one, without any other,
            for lists of different lengths, and for a score that is not finite.
    """
    by_seed = {corner: _by_seed(corner, own) for corner, own in scores.items()}
    by_seed = {corner: own for corner, own in by_seed.items() if own}
    if START not in by_seed:
        raise ValueError("there is no score of the default architecture and hyperparameters")
    if len(by_seed) == 1:
        raise ValueError("only the default was scored, so there is nothing to compare it with")
    lists = {len(own) for own in scores.values() if not isinstance(own, Mapping) and len(own)}
    if len(lists) > 1:
        raise ValueError(
            f"corners have lists of {sorted(lists)} scores; give them by seed, so that they pair"
        )
    sign = 1.0 if higher_is_better else -1.0
    weights = {
        "architecture": {A_ALONE: 1, START: -1},
        "hyperparameters": {H_ALONE: 1, START: -1},
        "both": {BOTH: 1, START: -1},
        "interaction": {BOTH: 1, A_ALONE: -1, H_ALONE: -1, START: 1},
    }
    gains = {}
    for name, weight in weights.items():
        if all(corner in by_seed for corner in weight):
            seeds = set.intersection(*(set(by_seed[corner]) for corner in weight))
            values = [
                sign * sum(factor * by_seed[corner][seed] for corner, factor in weight.items())
                for seed in sorted(seeds)
            ]
            if values:
                gains[name] = Estimate.of(values)
    corners = {
        "_".join(corner): Estimate.of(list(by_seed[corner].values()))
        for corner in _CORNERS
        if corner in by_seed
    }
    return Factorial(corners, gains, higher_is_better)


def _by_seed(corner: Any, scores: Scores) -> dict[int, float]:
    if corner not in _CORNERS:
        known = ", ".join(str(pair) for pair in _CORNERS)
        raise ValueError(f"{corner!r} is no corner of the design; choose from {known}")
    pairs = scores.items() if isinstance(scores, Mapping) else enumerate(scores)
    found = {seed: float(score) for seed, score in pairs}
    for seed, score in found.items():
        if not np.isfinite(score):
            raise ValueError(f"the score of {corner} with seed {seed} is {score}, not finite")
    return found
