"""Results of the candidates of ``darts find``: their order, and which of two is preferred."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from darts.finding.candidates import Candidate
from darts.finding.policy import WORST
from darts.judging.statistics import LEVEL
from darts.reading import JsonObject
from darts.recipes.gain import validation_interval
from darts.tasks.metrics import Metric
from darts.tracking.ledger import sum_costs
from darts.tracking.metrics import mean_curve, read_metrics
from darts.training.scoring import memorizes
from darts.writing import to_jsonable

# Epochs after which the score of a network says something, at least.
FIRST_EPOCHS = 3

# Confidence level of the interval of a difference on validation data. A network replaces the best
# baseline if its interval lies above 0, which has a probability of about four fifths.
CHOICE_LEVEL = 0.6


@dataclass(frozen=True)
class FoldRun:
    """A run of a candidate with one of the parts of the samples held out.

    Attributes:
        directory: Run directory.
        summary: Content of its ``summary.json``.
    """

    directory: Path
    summary: JsonObject


@dataclass(frozen=True)
class Result:
    """What a candidate has reached so far.

    Attributes:
        candidate: The candidate.
        runs: Its run, or one for each part of the samples that is held out.
        summary: Content of ``summary.json``; with several runs, scores and seconds are means.
        score: Steering metric on validation data; nan without validation data.
    """

    candidate: Candidate
    runs: tuple[FoldRun, ...]
    summary: JsonObject
    score: float

    @property
    def directory(self) -> Path:
        """The run directory with the weights of the network."""
        return self.runs[0].directory

    @property
    def directories(self) -> list[Path]:
        """The run directories of all runs."""
        return [run.directory for run in self.runs]

    @property
    def loss(self) -> float:
        """Validation loss; infinite if it is unknown."""
        value = self.summary.get("valid_loss")
        return float(value) if isinstance(value, int | float) else math.inf

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return self.candidate.start.epochs + int(self.summary["epochs"])

    @property
    def best_epoch(self) -> int:
        """The epoch with the best score."""
        return self.candidate.start.epochs + int(self.summary["epoch"])

    @property
    def seconds(self) -> float:
        """Seconds that one run has trained so far, including the run that it continues."""
        return self.candidate.start.seconds + float(self.summary["seconds"])

    @property
    def is_exhausted(self) -> bool:
        """Whether the second half of the epochs brought no better score.

        The first epochs say little, so they do not count.
        """
        return self.epochs > 2 * self.best_epoch + FIRST_EPOCHS

    @property
    def memorizes(self) -> bool:
        """Whether the network is better on its training samples than on others.

        More training and larger networks then help less, and a fall of the rate harms: in
        experiments/learning_rates.py, it helps on Fashion-MNIST, where the training error is the
        larger one, and harms on photos.
        """
        rows = read_metrics(self.directory / "metrics.jsonl")
        return memorizes(rows[-2:][0])  # the last epoch may have ended after a few steps

    def mean_score(self, metric: str, begin: int, end: float = math.inf) -> float:
        """Return the mean score over the second half of the epochs between two epochs."""
        curve = {
            self.candidate.start.epochs + n: row for n, row in mean_curve(self.directories).items()
        }
        name = f"valid_{metric}"
        scores = [row[name] for n, row in curve.items() if begin < n <= end and name in row]
        # Not fmean, because equal scores must have an equal mean.
        return statistics.mean(scores[len(scores) // 2 :]) if scores else math.nan

    def row(self, metric: str) -> dict[str, object]:
        """Return the row in ``candidates.csv``, with the directory of the first run."""
        return {
            "candidate": self.candidate.name,
            "origin": self.candidate.origin,
            "family": self.candidate.family,
            "setting": self.candidate.setting.name,
            "epochs": self.epochs,
            f"valid_{metric}": to_jsonable(self.score),
            "valid_loss": to_jsonable(self.loss),
            **{name: self.summary.get(name) for name in ("parameters", "macs")},
            "seconds": sum(float(run.summary["seconds"]) for run in self.runs),
            "joules": sum_costs([run.summary for run in self.runs])["joules"],
            "runs": len(self.runs),
            "directory": self.directory.name,
            "genotype": self.candidate.genotype,
        }


def signed(score: float, metric: Metric) -> float:
    """Return a number that is higher for better scores; ``WORST`` for nan."""
    if math.isnan(score):
        return WORST
    return score if metric.higher_is_better else -score


def ranked(results: Iterable[Result], metric: Metric) -> list[Result]:
    """Sort results, the best first: by score, then by validation loss, then by size.

    On small validation sets, several networks often have the same score but different losses.
    """

    def key(result: Result) -> tuple[float, float, float]:
        size = float(result.summary.get("parameters") or 0)
        return -signed(result.score, metric), result.loss, size

    return sorted(results, key=key)


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
    _, *bounds = improvement(metric, new, old, level)
    return not bounds or bounds[0] > 0


def improvement(
    metric: tuple[str, Metric], new: Result, old: Result, level: float = 0.95
) -> list[float]:
    """Return how much better a network is on validation data, and the interval if there is one."""
    bounds = validation_interval(new.directories, old.directories, metric=metric[0], level=level)
    return [signed(new.score, metric[1]) - signed(old.score, metric[1]), *(bounds or ())]


def augmented(metric: tuple[str, Metric], result: Result, equal: Iterable[Result]) -> Result:
    """Return the best variant of a result with more augmentation, unless all are much worse.

    Winners train for several times as long as in the comparison, and longer training gains more
    from augmentation. A variant is not much worse if it has more than half of the improvement since
    it began. Means over epochs are compared: on few validation samples, the best epochs of all
    networks soon have the same score. If the result memorizes, it hardly improves; then a variant
    is not much worse unless the difference is significant.

    Args:
        metric: Name of the steering metric and its direction.
        result: The result.
        equal: Results after equal training.
    """
    own = result.candidate
    variants = [r for r in equal if r.candidate.changes_setting_of(own)]
    for variant in ranked([r for r in variants if r.candidate.setting.augments], metric[1]):
        begin = variant.candidate.start.epochs
        parts = (result.mean_score(metric[0], 0, begin), result.mean_score(metric[0], begin))
        before, after = (signed(score, metric[1]) for score in parts)
        keeps_half = signed(variant.mean_score(metric[0], begin), metric[1]) > (before + after) / 2
        if keeps_half or (result.memorizes and not is_better(metric, result, variant, LEVEL)):
            return variant
    return result
