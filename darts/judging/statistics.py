"""Statistics of method comparisons: confidence intervals, tests and effect sizes.

The unit of observation is the search. Retrainings of one genotype differ less than retrainings of
two genotypes, so counting each retraining as an observation would make intervals too narrow.
Retrainings are averaged per search, and searches are resampled with all their retrainings.

References:
    Davison and Hinkley, "Bootstrap Methods and their Application", 1997: section 3.8 for
    hierarchical data, 5.2.1 for the studentized bootstrap.
    Pitman, "Significance Tests Which May be Applied to Samples from any Populations", 1937.
    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    Cliff, "Dominance Statistics: Ordinal Analyses to Answer Ordinal Questions", 1993. The names
    of effect sizes follow Romano et al., 2006.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95  # confidence level of intervals
ALPHA = 0.05  # significance level of tests
SIGN_DRAWS = 100_000  # sign changes that the sign-flip test draws, unless there are fewer
MIN_SEARCHES = 4  # searches that an interval needs

# For each search, the scores of its retrainings.
Groups = Sequence[Sequence[float]]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over searches and its confidence interval, in the unit of the score.

    Both bounds are None if there are too few searches or almost all means are equal.
    """

    mean: float
    low: float | None
    high: float | None
    count: int  # number of searches

    @property
    def why_unbounded(self) -> str:
        """Reason why the bounds are None."""
        return "too few searches" if self.count < MIN_SEARCHES else "almost all are equal"

    def covers(self, value: float) -> bool:
        """Return whether the interval contains a value; True if the bounds are None."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def search_means(groups: Groups) -> Numbers:
    """Return the mean score of each search's retrainings, ``(searches,)``."""
    return np.array([np.mean(group) for group in groups], dtype=np.float64)


def bootstrap(groups: Groups, *, level: float = LEVEL, draws: int = 10_000) -> Interval:
    """Compute the studentized bootstrap interval of the mean over searches.

    Searches are drawn with replacement and keep their retrainings. Unlike the percentile interval,
    this interval is not too narrow for few searches: docs/compare.md reports its measured coverage.
    ``level`` is the confidence level, ``draws`` the number of resamples.
    """
    values = search_means(groups)
    mean, count = float(values.mean()), len(values)
    if count > 1 and np.ptp(values) == 0:
        return Interval(mean, mean, mean, count)
    if count < MIN_SEARCHES:  # too many resamples repeat one search and have no spread
        return Interval(mean, None, None, count)
    generator = np.random.default_rng(0)
    samples = values[generator.integers(count, size=(draws, count))]
    shift = samples.mean(1) - mean
    deviation = samples.std(1, ddof=1)
    constant = deviation <= 1e-12 * np.ptp(values)  # resamples that repeat one search
    safe = np.where(constant, 1.0, deviation)
    ratio = np.sort(np.where(constant, np.copysign(np.inf, shift), shift / safe))
    outside = math.floor((1 - level) / 2 * draws)  # resamples beyond each bound
    scale = float(values.std(ddof=1))
    low, high = mean - scale * float(ratio[-1 - outside]), mean - scale * float(ratio[outside])
    if not (math.isfinite(low) and math.isfinite(high)):
        return Interval(mean, None, None, count)  # too many constant resamples
    return Interval(mean, low, high, count)


def sign_flip_test(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test of paired differences.

    Under the null hypothesis, the sign of each difference is random. The test statistic is the
    mean. The test is exact if there are at most ``SIGN_DRAWS`` sign changes, that is for up to 16
    pairs.
    """
    from scipy.stats import permutation_test

    if len(differences) == 1:
        return 1.0
    samples = (np.asarray(differences, dtype=np.float64),)
    found = permutation_test(
        samples, np.mean, permutation_type="samples", n_resamples=SIGN_DRAWS, random_state=0
    )
    return float(found.pvalue)


def pairs_needed(comparisons: int) -> int:
    """Return how many pairs each comparison needs so that p <= ALPHA is possible after ``holm``.

    The smallest p-value of ``sign_flip_test`` is ``2^(1 - pairs)``, if all signs are equal.
    """
    return 1 + math.ceil(math.log2(comparisons / ALPHA))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple testing by Holm's method, in the given order."""
    order = np.argsort(p_values)
    scaled = np.arange(len(order), 0, -1) * np.array(p_values)[order]
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(scaled).clip(max=1.0)
    return [float(p) for p in corrected]


def cliffs_delta(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return Cliff's delta, from -1 to 1, over all pairs of one of our and one of their values.

    It is the share of pairs in which our value is higher, minus the share in which theirs is.
    """
    signs = np.sign(np.subtract.outer(np.asarray(ours), np.asarray(theirs)))
    return float(signs.mean())


def delta_magnitude(delta: float) -> str:
    """Return the name of the effect size of a Cliff's delta."""
    bounds = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"))
    return next((word for bound, word in bounds if abs(delta) < bound), "large")


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of a method with a baseline.

    A pair consists of a search of the method and a search of the baseline with the same seed.
    """

    method: str
    baseline: str
    difference: Interval  # of the method's score minus the baseline's, over pairs
    p: float  # of sign_flip_test
    corrected_p: float  # after holm
    delta: float  # Cliff's delta of the means of searches
    comparisons: int  # number of simultaneous comparisons, for which holm corrects
    higher_is_better: bool = True

    @property
    def magnitude(self) -> str:
        """Name of the effect size; empty if there are too few pairs to show a difference.

        A few pairs often have a large delta by chance.
        """
        enough = self.difference.count >= pairs_needed(self.comparisons)
        return delta_magnitude(self.delta) if enough else ""

    @property
    def objections(self) -> list[str]:
        """Reasons why no difference can be claimed; empty if the difference is significant."""
        pairs, needed = self.difference.count, pairs_needed(self.comparisons)
        reasons = []
        if pairs < needed:
            min_p = min(1.0, self.comparisons * 2.0 ** (1 - pairs))
            searches = "1 search is" if pairs == 1 else f"{pairs} searches are"
            reasons.append(
                f"{searches} too few, as the corrected p cannot be below {min_p:.3g}; "
                f"at least {needed} are needed"
            )
        if self.difference.low is None:
            equal = "there is no interval, as almost all differences are equal"
            few = f"there is no interval for fewer than {MIN_SEARCHES} searches"
            reasons.append(few if pairs < MIN_SEARCHES else equal)
        elif self.difference.covers(0.0):
            reasons.append("the interval of the difference covers 0")
        if self.corrected_p > ALPHA and pairs >= needed:
            reasons.append(f"the corrected p = {self.corrected_p:.3g} is above {ALPHA}")
        return reasons


def compare_methods(
    method: tuple[str, Groups],
    baselines: Sequence[tuple[str, Groups]],
    *,
    higher_is_better: bool = True,
    draws: int = 10_000,
) -> list[Comparison]:
    """Compare a method with each baseline.

    Each has a name, and scores of the retrainings of each search. Search i of each must have the
    seed of search i of ``method``. ``draws`` is the number of resamples of ``bootstrap``.
    """
    name, ours = method[0], search_means(method[1])
    others = [(baseline, search_means(groups)) for baseline, groups in baselines]
    p_values = [sign_flip_test((ours - theirs).tolist()) for _, theirs in others]
    return [
        Comparison(
            method=name,
            baseline=baseline,
            difference=bootstrap([[d] for d in (ours - theirs).tolist()], draws=draws),
            p=p,
            corrected_p=corrected_p,
            delta=cliffs_delta(ours.tolist(), theirs.tolist()),
            comparisons=len(others),
            higher_is_better=higher_is_better,
        )
        for (baseline, theirs), p, corrected_p in zip(others, p_values, holm(p_values), strict=True)
    ]


def verdict(comparison: Comparison, show: Callable[[float], str] = "{:.4g}".format) -> str:
    """Return a sentence that says what a comparison shows, and no more than the data support.

    ``show`` formats a difference of scores.
    """
    c, d = comparison, comparison.difference
    interval = "" if d.low is None or d.high is None else f" [{show(d.low)}, {show(d.high)}]"
    difference = f"{show(d.mean)}{interval}"
    size = f"Cliff's delta {c.delta:.2f}" + (f", {c.magnitude}" if c.magnitude else "")
    if c.objections:
        reasons = "; ".join(c.objections)
        return (
            f"No difference between {c.method} and {c.baseline} is shown: {reasons} "
            f"(difference {difference}, corrected p = {c.corrected_p:.3g}, {size})."
        )
    word = "better" if (d.mean > 0) == c.higher_is_better else "worse"
    return (
        f"{c.method} is {word} than {c.baseline}: difference {difference}, "
        f"corrected p = {c.corrected_p:.3g}, {size}."
    )
