"""The best choice within limits of costs that are sums over the decisions.

This is the multiple-choice knapsack problem. Decisions are added one after another. Of the partial
choices, only those on the Pareto front of score and costs remain.

References:
    Kellerer, Pferschy and Pisinger, "Knapsack Problems", 2004, section 11.5: dynamic programming
    with lists of undominated states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_STATES = 4000
"""Partial choices that remain after each decision; the result is exact if there are never more."""

BINS = 256
"""With several costs, partial choices compete within bins of this share of each limit."""


@dataclass(frozen=True)
class _States:
    """Partial choices: their scores ``(n,)``, costs ``(n, costs)``, and how they came about."""

    scores: np.ndarray
    costs: np.ndarray
    parents: np.ndarray  # numbers of the partial choices without the last decision
    options: np.ndarray  # option of the last decision


def best_choice(
    scores: Sequence[np.ndarray], costs: Sequence[np.ndarray], limits: np.ndarray
) -> tuple[int, ...] | None:
    """Return the option of each decision with the largest sum of scores within the limits.

    With one cost, the result is optimal unless more than ``MAX_STATES`` partial choices are on the
    front. With several costs, partial choices with similar costs compete, so it may be slightly
    worse than the optimum. It never exceeds the limits.

    Args:
        scores: For each decision, the scores of its options ``(options,)``.
        costs: For each decision, the costs of its options ``(options, costs)``.
        limits: Largest sum of each cost ``(costs,)``.

    Returns:
        None if no choice within the limits was found. With one cost, there is none.
    """
    smallest = np.array([own.min(axis=0) for own in costs])  # (decisions, costs)
    rest = np.cumsum(smallest[::-1], axis=0)[::-1] - smallest  # of all later decisions
    states = _States(
        np.zeros(1), np.zeros((1, len(limits))), np.zeros(1, dtype=int), np.zeros(1, dtype=int)
    )
    history = []
    for own_scores, own_costs, later in zip(scores, costs, rest, strict=True):
        states = _extend(states, own_scores, own_costs, limits - later, limits)
        if not len(states.scores):
            return None
        history.append(states)
    number, choice = int(states.scores.argmax()), []
    for level in reversed(history):
        choice.append(int(level.options[number]))
        number = int(level.parents[number])
    return tuple(reversed(choice))


def _extend(
    states: _States, scores: np.ndarray, costs: np.ndarray, room: np.ndarray, limits: np.ndarray
) -> _States:
    """Add a decision to all partial choices; keep those on the front that cost at most ``room``."""
    total = (states.costs[:, None] + costs).reshape(-1, len(room))
    fits = np.flatnonzero((total <= room).all(axis=1))
    total, value = total[fits], (states.scores[:, None] + scores).reshape(-1)[fits]
    parents, options = np.divmod(fits, len(scores))
    # The best score first; of equal scores, the cheapest.
    order = np.lexsort((*total.T, -value))
    if total.shape[1] == 1:
        cheapest = np.minimum.accumulate(np.concatenate(([np.inf], total[order, 0])))
        front = order[total[order, 0] < cheapest[:-1]]
    else:
        bins = np.floor(total[order] / np.maximum(limits, 1e-300) * BINS)
        _, first = np.unique(bins, axis=0, return_index=True)
        cheapest_of_each = total[order].argmin(axis=0) if len(order) else first[:0]
        front = order[np.unique(np.concatenate((first, cheapest_of_each)))]
    if len(front) > MAX_STATES:  # the front is ordered by score, so keep both ends of it
        front = front[np.linspace(0, len(front) - 1, MAX_STATES).astype(int)]
    return _States(value[front], total[front], parents[front], options[front])
