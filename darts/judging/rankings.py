"""Rankings: their agreement, the combination of scores by their ranks, and the Pareto front.

References:
    Lee and Ham, "AZ-NAS", arXiv:2403.19232, section 3.3: sum of the logarithms of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How well scores predict the truth.

    Attributes:
        spearman: Correlation of ranks, in [-1, 1].
        kendall: Kendall's tau-b, in [-1, 1].
        top_recall: Share of the best tenth by truth that is among the best tenth by score, in
            [0, 1]. Where equal values leave open which architectures are the best, it is the
            expectation over random orders of them.
    """

    spearman: float
    kendall: float
    top_recall: float


def agreement(scores: Values, truth: Values) -> Agreement:
    """Compare scores with the truth, both ``(n,)``, larger is better.

    The correlations are 0 if all scores or all truths are equal. NaN counts as the worst score.
    """
    from scipy import stats

    ranks, true_ranks = stats.rankdata(_finite(scores)), stats.rankdata(truth)
    if len(scores) < 2 or np.ptp(ranks) == 0 or np.ptp(true_ranks) == 0:
        return Agreement(0.0, 0.0, _top_recall(scores, truth))
    return Agreement(
        float(stats.spearmanr(ranks, true_ranks).statistic),
        float(stats.kendalltau(ranks, true_ranks).statistic),
        _top_recall(scores, truth),
    )


def rank_fractions(scores: Values) -> Values:
    """Return ``rank / n`` of scores ``(n,)``: 1 for the best, ``1 / n`` for the worst.

    Equal scores share their mean rank. NaN counts as the worst score.
    """
    from scipy import stats

    ranks: Values = stats.rankdata(np.where(np.isnan(scores), -np.inf, scores))
    return ranks / len(ranks)


def combined(scores: Mapping[str, Values], weights: Mapping[str, float] | None = None) -> Values:
    """Return the weighted sum of the logarithms of ``rank_fractions`` of scores, each ``(n,)``.

    The logarithm separates bad architectures more than good ones, so an architecture must be good
    by every score to be good by their sum. Without weights, each score has weight 1. A negative
    weight ranks a score in reverse.
    """
    total = np.zeros(len(next(iter(scores.values()))))
    for name, values in scores.items():
        weight = 1.0 if weights is None else weights[name]
        total += abs(weight) * np.log(rank_fractions(values if weight >= 0 else -values))
    return total


def calibrated_weights(scores: Mapping[str, Values], truth: Values) -> dict[str, float]:
    """Return the rank correlation of each score with the truth, as its weight in ``combined``.

    A score that ranks the architectures in reverse gets a negative weight, and one that has nothing
    to do with the truth a small one. Scores and truth are of a few architectures, ``(n,)`` each.
    """
    return {name: agreement(values, truth).spearman for name, values in scores.items()}


def _finite(values: Values) -> Values:
    """Replace infinities and NaN by huge finite values, so that differences are defined."""
    return np.nan_to_num(values, nan=-1e300, neginf=-1e300, posinf=1e300)


def _top_recall(scores: Values, truth: Values) -> float:
    count = max(1, round(len(truth) / 10))
    return float(_chance_of_top(truth, count) @ _chance_of_top(_finite(scores), count)) / count


def _chance_of_top(values: Values, count: int) -> Values:
    """Return the probability ``(n,)`` of being among the ``count`` largest of ``values``.

    Values equal to the smallest of these share the places that the larger ones leave.
    """
    limit = np.sort(values)[-count]
    above, tied = values > limit, values == limit
    chances: Values = above + tied * (count - above.sum()) / tied.sum()
    return chances


def pareto_front(rows: Sequence[Mapping[str, object]], objectives: Mapping[str, bool]) -> list[int]:
    """Return the indices of the rows on the Pareto front, in order.

    A row is on the front if no other row is at least as good in all objectives and better in one.
    If several equal rows are on the front, all are returned. A row without a finite number for each
    objective is never on the front. ``objectives`` says for each name whether higher is better.
    """
    columns = [
        [row[name] if has_number(row, name) else np.nan for row in rows] for name in objectives
    ]
    signs = [1.0 if higher else -1.0 for higher in objectives.values()]
    scores = np.array(columns, dtype=float).T * signs  # NaN is neither better nor worse
    return [
        index
        for index, own in enumerate(scores)
        if np.isfinite(own).all() and not ((scores >= own).all(1) & (scores > own).any(1)).any()
    ]


def has_number(row: Mapping[str, object], name: str) -> bool:
    """Return whether ``row[name]`` exists and is a finite number."""
    value = row.get(name)
    return isinstance(value, (int, float, np.number)) and math.isfinite(value)
