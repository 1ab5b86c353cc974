"""Which of two networks is preferred, by their validation samples."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from darts.finding.results import Result, ranked
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


def most_augmented(metric: tuple[str, Metric], result: Result, others: Iterable[Result]) -> Result:
    """Return the best of others with more augmentation, unless all are significantly worse.

    Winners train for several times as long as in the comparison, and longer training gains more
    from augmentation. Where mirroring harms, as on letters and digits, it is much worse soon.
    """
    harms = partial(is_better, metric, result, level=LEVEL)
    better = (o for o in ranked(others, metric[1]) if o.candidate.setting.augments and not harms(o))
    return next(better, result)


def fewest_epochs(metric: tuple[str, Metric], result: Result, others: Iterable[Result]) -> Result:
    """Return the result with the fewest epochs of those that are not significantly worse.

    After equal time, a network that needed fewer epochs for the same score is usually larger. It is
    better per epoch, so it is ahead as soon as both have trained for many epochs, unless they then
    know the training samples by heart.
    """
    level = (o for o in others if not is_better(metric, result, o, LEVEL))
    return min([result, *level], key=lambda each: each.epochs)
