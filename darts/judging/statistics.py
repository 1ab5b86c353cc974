"""Whether a method is better than another, and when the data does not say so.

The unit is the search. Retrainings of one genotype differ less than those of two, so that counting
each of them as an observation makes intervals too narrow; they are averaged first, and searches are
resampled with all their retrainings.

References:
    Davison and Hinkley, "Bootstrap Methods and their Application", 1997: section 3.8 for
    hierarchical data, 5.2.1 for the studentized bootstrap.
    Pitman, "Significance Tests Which May be Applied to Samples from any Populations", 1937.
    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    Cliff, "Dominance Statistics: Ordinal Analyzes to Answer Ordinal Questions", 1993; the words for
    sizes are those of Romano et al., 2006.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
ALPHA = 0.05
EXACT = 16
"""Up to so many pairs, all changes of signs are counted; beyond, so many are drawn:"""
FLIPS = 100_000
LEAST = 4
"""Searches for which there is an interval, unless almost all of them are equal."""

Groups = Sequence[Sequence[float]]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its interval; no bounds where the data does not give any.

    Attributes:
        mean: over searches.
        low, high: the bounds, both or neither.
        count: of searches.
    """

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def lacking(self) -> str:
        """Why there are no bounds, where there are none."""
        return "too few searches" if self.count < LEAST else "almost all are equal"

    def covers(self, value: float) -> bool:
        """Whether the data does not speak against a value."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def means(groups: Groups) -> Numbers:
    """The mean of each search's retrainings, ``(searches,)``.

    Raises:
        ValueError: without searches, or for one without retrainings.
    """
    if not groups or not all(len(group) for group in groups):
        raise ValueError("there must be searches, and each must have a score")
    return np.array([np.mean(np.asarray(group, dtype=np.float64)) for group in groups])


def bootstrap(
    groups: Groups, *, level: float = LEVEL, draws: int = 10_000, seed: int = 0
) -> Interval:
    """The studentized bootstrap interval of the mean over searches.

    Searches are drawn with replacement and keep their retrainings. Unlike the percentile interval
    it is not too narrow for few searches; see docs/compare.md for measured rates.

    Args:
        groups: scores of the retrainings of each search.
        level: share of such intervals that are to cover the true mean.
        draws: resamples.
        seed: of the draws.
    """
    values = means(groups)
    mean, count = float(values.mean()), len(values)
    if count > 1 and np.ptp(values) == 0:
        return Interval(mean, mean, mean, count)
    if count < LEAST:  # too often the same search is drawn each time, which says nothing of spread
        return Interval(mean, None, None, count)
    generator = np.random.default_rng(seed)
    drawn = values[generator.integers(count, size=(draws, count))]
    shift = drawn.mean(1) - mean
    error = drawn.std(1, ddof=1)
    tiny = error <= 1e-12 * np.ptp(values)  # one search drawn each time
    ratio = np.where(tiny, np.copysign(np.inf, shift), shift / np.where(tiny, 1.0, error))
    ratio.sort()
    outside = math.floor((1 - level) / 2 * draws)
    scale = float(values.std(ddof=1))
    low, high = mean - scale * float(ratio[-1 - outside]), mean - scale * float(ratio[outside])
    if not (math.isfinite(low) and math.isfinite(high)):
        return Interval(mean, None, None, count)  # the same value drawn each time, too often
    return Interval(mean, low, high, count)


def sign_flip_test(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of paired differences whose signs, without an effect, are a coin's.

    The statistic is the mean. Exact up to ``EXACT`` pairs; beyond, ``FLIPS`` changes of signs are
    drawn, and the p-value is never below what so many can tell.

    Raises:
        ValueError: without differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values):
        raise ValueError("there are no differences to test")
    if len(values) <= EXACT:
        bits = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        signs = 1.0 - 2.0 * bits
    else:
        generator = np.random.default_rng(seed)
        signs = generator.choice((-1.0, 1.0), size=(FLIPS, len(values)))
    # Sums of the same numbers in another order are equal, whatever their last bits say.
    observed = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    extreme = int((np.abs(signs @ values) >= observed).sum())
    exact = len(values) <= EXACT
    return extreme / len(signs) if exact else (extreme + 1) / (len(signs) + 1)


def least_p(pairs: int) -> float:
    """The smallest p-value that so many pairs can have in ``sign_flip_test``: all signs equal."""
    return min(1.0, 2.0 ** (1 - pairs))


def pairs_needed(comparisons: int = 1, *, alpha: float = ALPHA) -> int:
    """Pairs from which on each of so many comparisons can come out below alpha after ``holm``."""
    pairs = 1
    while comparisons * least_p(pairs) > alpha:
        pairs += 1
    return pairs


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the order given; each at most 1."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def cliffs_delta(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How much more often ours is above theirs than below it, of all pairs: from -1 to 1."""
    signs = np.sign(np.subtract.outer(np.asarray(ours), np.asarray(theirs)))
    return float(signs.mean())


def in_words(delta: float) -> str:
    """The size of a Cliff's delta."""
    bounds = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"))
    return next((word for bound, word in bounds if abs(delta) < bound), "large")


@dataclass(frozen=True)
class Comparison:
    """A method beside a baseline, search by search.

    Attributes:
        method, baseline: names.
        difference: method minus baseline.
        p: of ``sign_flip_test``.
        corrected: the same after ``holm``.
        delta: Cliff's, of the means of searches.
        comparisons: how many are made at once.
        higher_is_better: of the scores.
    """

    method: str
    baseline: str
    difference: Interval
    p: float
    corrected: float
    delta: float
    comparisons: int
    higher_is_better: bool = True

    @property
    def doubts(self) -> list[str]:
        """Why no difference may be claimed, in words; empty where one may."""
        pairs, needed = self.difference.count, pairs_needed(self.comparisons)
        found = []
        if pairs < needed:
            least = min(1.0, self.comparisons * least_p(pairs))
            searches = "1 search is" if pairs == 1 else f"{pairs} searches are"
            found.append(
                f"{searches} too few, as p cannot fall below {least:.3g} with them; "
                f"at least {needed} are needed"
            )
        if self.difference.low is None:
            equal = "there is no interval, as almost all differences are equal"
            few = "there is no interval for so few searches"
            found.append(few if pairs < LEAST else equal)
        elif self.difference.covers(0.0):
            found.append("the interval of the difference covers 0")
        if self.corrected > ALPHA and pairs >= needed:
            found.append(f"p = {self.corrected:.3g} is above {ALPHA}")
        return found

    @property
    def shown(self) -> bool:
        """Whether the data shows a difference."""
        return not self.doubts


def compare(
    method: tuple[str, Groups],
    baselines: Sequence[tuple[str, Groups]],
    *,
    higher_is_better: bool = True,
    draws: int = 10_000,
) -> list[Comparison]:
    """Compare a method with each baseline; search number i of all of them has the same seed.

    Raises:
        ValueError: if they have not been searched equally often.
    """
    name, ours = method[0], means(method[1])
    others = [(other, means(groups)) for other, groups in baselines]
    for other, theirs in others:
        if len(theirs) != len(ours):
            raise ValueError(f"{name} has {len(ours)} searches and {other} {len(theirs)}")
    p_values = [sign_flip_test((ours - theirs).tolist()) for _, theirs in others]
    return [
        Comparison(
            *(name, other),
            bootstrap([[d] for d in (ours - theirs).tolist()], draws=draws),
            *(p, corrected),
            cliffs_delta(ours.tolist(), theirs.tolist()),
            len(others),
            higher_is_better,
        )
        for (other, theirs), p, corrected in zip(others, p_values, holm(p_values), strict=True)
    ]


def verdict(comparison: Comparison, show: Callable[[float], str] = "{:.4g}".format) -> str:
    """One sentence about a comparison, which claims no more than the data shows.

    Args:
        comparison: to be told.
        show: writes a difference of scores.
    """
    c, d = comparison, comparison.difference
    between = "" if d.low is None or d.high is None else f" [{show(d.low)}, {show(d.high)}]"
    found = f"{show(d.mean)}{between}"
    size = f"Cliff's delta {c.delta:.2f}, {in_words(c.delta)}"
    if c.doubts:
        why = "; ".join(c.doubts)
        return (
            f"No difference between {c.method} and {c.baseline} is shown: {why} "
            f"(difference {found}, p = {c.corrected:.3g}, {size})."
        )
    better = (d.mean > 0) == c.higher_is_better
    return (
        f"{c.method} is {'better' if better else 'worse'} than {c.baseline}: difference {found}, "
        f"p = {c.corrected:.3g}, {size}."
    )
