"""Scores that a network reaches without looking at its input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_ORDERS = 2 * 10**7  # labels that all random orders together contain

# Probability below which a score is no longer explained by chance.
CHANCE = 0.01


@dataclass(frozen=True)
class ChanceLevel:
    """The best score that a network can plausibly reach without looking at its input.

    Attributes:
        metric: Name of the score.
        limit: Its value; a score must be better.
        higher_is_better: Direction of the metric.
        guess: The guess that reaches it, in words.
    """

    metric: str
    limit: float
    higher_is_better: bool
    guess: str

    def explains(self, score: float) -> bool:
        """Return whether a score is not better than the limit; True for NaN."""
        return not (score > self.limit if self.higher_is_better else score < self.limit)


def guessed_class(labels: Tensor) -> ChanceLevel:
    """Return the chance level of accuracy: always predicting the most frequent class, with luck.

    If the samples are drawn at random, the number of correct predictions is then binomially
    distributed. The limit is the largest accuracy that is reached with a probability above
    ``CHANCE``.

    Args:
        labels: Classes of the scored samples, ``(n,)`` int64, n > 0.
    """
    from scipy.stats import binom

    count, most = len(labels), int(torch.bincount(labels).max())
    guess = f"always predicting the most frequent class, {most} of {count} samples"
    # The largest k with P(X >= k) > CHANCE, which is the smallest k with P(X > k) <= CHANCE.
    likely = count if most == count else float(binom.isf(CHANCE, count, most / count))
    return ChanceLevel("accuracy", likely / count, True, guess)


def guessed_classes(labels: Tensor) -> ChanceLevel:
    """Return the chance level of the balanced accuracy: random classes, with luck.

    The mean share of correct guesses is about normally distributed. It exceeds the limit with a
    probability of ``CHANCE``.

    Args:
        labels: Classes of the scored samples, ``(n,)`` int64, n > 0.
    """
    from scipy.stats import norm

    counts = torch.bincount(labels)
    counts = counts[counts > 0].double()
    share = 1 / len(counts)
    deviation = share * math.sqrt(share * (1 - share) * float((1 / counts).sum()))
    guess = f"guessing one of {len(counts)} classes"
    limit = min(share + float(norm.isf(CHANCE)) * deviation, 1.0)
    return ChanceLevel("balanced_accuracy", limit, True, guess)


def lucky_average_precision(labels: Tensor) -> float:
    """Return the mean average precision that a random order of the samples hardly exceeds.

    It is the quantile ``1 - CHANCE`` over random orders, and at least the frequency of the labels,
    which equal probabilities reach.

    Args:
        labels: Labels of the scored samples, ``(n, K)``; labels that do not occur do not count.
    """
    present = labels[:, (labels > 0).any(0)].double().cpu()
    count, rng = len(present), torch.Generator().manual_seed(0)
    rank = torch.arange(1, count + 1, dtype=torch.float64)[:, None]
    draws = min(max(_ORDERS // max(present.numel(), 1), 20), 500)
    found = []
    for _ in range(draws):
        own = present[torch.randperm(count, generator=rng)]
        precision = own.cumsum(0) / rank
        found.append(((precision * own).sum(0) / own.sum(0)).mean())
    lucky = float(torch.stack(found).quantile(1 - CHANCE))
    # The score of equal probabilities may exceed their frequency by rounding.
    return max(lucky, float(present.mean()) * (1 + 1e-5))


def guessed_tokens(tokens: Tensor) -> ChanceLevel:
    """Return the chance level of the loss: always predicting the token frequencies.

    The limit is the entropy of the frequencies in nats.

    Args:
        tokens: Target tokens, ``(n,)`` int64, n > 0.
    """
    counts = torch.bincount(tokens).double()
    entropy = float(torch.special.entr(counts / counts.sum()).sum())
    guess = f"always predicting the token frequencies, a perplexity of {math.exp(entropy):.4g}"
    return ChanceLevel("loss", entropy, False, guess)
