"""Selection of the networks of an ensemble by the score of their mean prediction.

References:
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models",
    ICML 2004: forward selection (section 2), with replacement (section 2.1). The selection begins
    with the best network, not with several (section 2.2), because ``darts.find`` has few.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor


def greedy_selection(
    predictions: Tensor, score: Callable[[Tensor], float], *, members: int, rounds: int
) -> list[int]:
    """Return how often each network counts in the mean prediction, a list of whole numbers.

    The first round chooses the network with the best score. Each further round adds the network
    that improves the score of the mean most; it may be one that was added before. The selection
    ends when no network improves the score. Among equal scores, a network that is already chosen
    comes first, then the one with the lower index. A score that is not a number is the worst.

    Args:
        predictions: Probabilities or numbers that each network predicts, ``(networks, samples, K)``
            of a floating-point type.
        score: Returns the score of predictions ``(samples, K)``; higher is better.
        members: Maximum number of different networks.
        rounds: Maximum sum of the counts.

    Raises:
        ValueError: If there are no networks, or ``members`` or ``rounds`` is below 1.
    """
    if not len(predictions) or members < 1 or rounds < 1:
        raise ValueError(
            f"{len(predictions)} networks, members={members}, rounds={rounds}: each must be >= 1"
        )
    counts = [0] * len(predictions)
    total, best = predictions.new_zeros(predictions.shape[1:]), -math.inf
    for size in range(1, rounds + 1):
        chosen = [index for index, count in enumerate(counts) if count]
        others = [index for index, count in enumerate(counts) if not count]
        candidates = chosen + (others if len(chosen) < members else [])
        scores = [_ranked(score((total + predictions[index]) / size)) for index in candidates]
        if size > 1 and max(scores) <= best:
            break
        best = max(scores)
        added = candidates[scores.index(best)]
        counts[added] += 1
        total = total + predictions[added]
    return counts


def _ranked(score: float) -> float:
    return -math.inf if math.isnan(score) else score
