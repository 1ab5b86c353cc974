"""Which of two networks is preferred, by their validation samples."""

from __future__ import annotations

import math
from collections.abc import Iterable

from darts.finding.results import Result, ranked, signed
from darts.judging.statistics import LEVEL
from darts.recipes.gain import validation_interval
from darts.tasks.metrics import Metric

CHOICE_LEVEL = 0.6
"""Confidence level of the interval of a difference on validation data. A network replaces the best
baseline if its interval lies above 0, which has a probability of about four fifths."""


def is_better(
    metric: tuple[str, Metric], new: Result, old: Result, level: float = CHOICE_LEVEL
) -> bool:
    """Return whether a network is clearly better than another one, on validation data.

    Args:
        metric: Name of the steering metric and its direction.
        new: The network.
        old: The other one.
        level: Confidence level of the interval of the difference.
    """
    if ranked([old, new], metric[1])[0] == old:
        return False
    bounds = validation_interval(new.directories, old.directories, metric=metric[0], level=level)
    return bounds is None or bounds[0] > 0


def augmented(
    metric: tuple[str, Metric], result: Result, equal: Iterable[Result], before: float | None
) -> Result:
    """Return the best variant of a result with more augmentation, unless all are much worse.

    Winners train for several times as long as in the comparison, and longer training gains more
    from augmentation. A variant is not much worse if it has at least half of the improvement of the
    last stage: where mirroring harms, it had less than 0.4 of it, also while scores rise quickly;
    where it does not, more than 0.5 (experiments/README.md). Nor is one that is not significantly
    worse, since small improvements are noise.

    Args:
        metric: Name of the steering metric and its direction.
        result: The result.
        equal: Results after equal training.
        before: Signed score of the result a stage before, with which the variants began; None if
            unknown.
    """
    name, score = result.candidate.name, signed(result.score, metric[1])
    variants = [r for r in equal if r.candidate.start.parent == name]
    variants = [r for r in variants if r.candidate.setting.augments]
    half = math.inf if before is None else (before + score) / 2
    for variant in ranked(variants, metric[1]):
        if signed(variant.score, metric[1]) >= half or _level(metric, result, [variant]):
            return variant
    return result


def larger(metric: tuple[str, Metric], result: Result, equal: Iterable[Result]) -> Result:
    """Return a baseline with fewer epochs that is not significantly worse, or else the result.

    After equal time, a network that needed fewer epochs for the same score is usually larger. It is
    better per epoch, so it is ahead when both have trained for many epochs. This does not hold if
    they then know the training samples by heart, so a result that memorizes them stays the same.

    Args:
        metric: Name of the steering metric and its direction.
        result: The result.
        equal: Results after equal training.
    """
    if result.memorizes:
        return result
    level = _level(metric, result, [r for r in equal if r.candidate.is_baseline])
    return min([result, *level], key=lambda each: each.epochs)


def _level(metric: tuple[str, Metric], result: Result, others: Iterable[Result]) -> list[Result]:
    """Return the results that are not significantly worse than another one."""
    return [other for other in others if not is_better(metric, result, other, LEVEL)]
