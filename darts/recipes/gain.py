"""The difference between a found network and a baseline on held-out data, with an interval.

Both networks are scored once, on the same samples. The interval includes only the uncertainty from
the choice of the test samples, see ``darts.judging.resampling``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from darts.data import Batch
from darts.judging.resampling import paired_interval, units_of
from darts.judging.statistics import LEVEL
from darts.reading import JsonObject
from darts.recipes.trained import TrainedNetwork, open_split
from darts.tasks.metrics import Metric, Numbers
from darts.tracking.formats import is_fraction
from darts.training.checkpoint import find_checkpoint
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate


@dataclass(frozen=True)
class Gain:
    """The difference between a found network and a baseline on the test data."""

    found: Mapping[str, float]  # all scores, by name
    baseline: Mapping[str, float]
    # Improvement of the steering metric: positive if the found network is better, also for metrics
    # where lower values are better.
    difference: float
    # Interval of the difference; None for too few units or a difference that is not finite.
    low: float | None
    high: float | None
    samples: int  # of target tokens for text

    def entries(self, name: str) -> JsonObject:
        """Return the difference and its bounds for ``summary.json``, named after it."""
        return {name: self.difference, f"{name}_low": self.low, f"{name}_high": self.high}

    @property
    def is_significant(self) -> bool:
        """Whether the interval does not contain 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0

    def text(self, metric: str) -> str:
        """Return the difference in words, such as "+2 points (95 % interval -3 to +7)".

        It is positive if the found network is better.
        """
        factor, unit = (100, " points") if is_fraction(metric) else (1, "")
        text = f"{factor * self.difference:+.3g}{unit}"
        if self.low is None or self.high is None:
            return text
        return f"{text} (95 % interval {factor * self.low:+.3g} to {factor * self.high:+.3g})"


def measure_gain(found: Path, baseline: Path, *, metric: str, device: str = "auto") -> Gain:
    """Score two retrainings on the test split, once, and compare them.

    Two references to the same checkpoint have a difference and an interval of exactly 0.
    """
    ours, theirs = _score_both((found, baseline), metric, "test", device)
    sign = 1 if ours.metric.higher_is_better else -1
    low, high = _interval([(ours, theirs)], LEVEL) or (None, None)
    return Gain(
        found=ours.scores,
        baseline=theirs.scores,
        difference=0.0 + sign * (ours.scores[metric] - theirs.scores[metric]),  # never -0.0
        low=low,
        high=high,
        samples=ours.samples,
    )


def validation_interval(
    found: Sequence[Path], baseline: Sequence[Path], *, metric: str, level: float
) -> tuple[float, float] | None:
    """Return the interval of the improvement on the validation data of several runs.

    Both runs of a pair have the same samples held out, and no sample is held out twice. Each run
    counts with the weights that it selected; with several, these may be of different epochs. Both
    bounds are positive if the found network is better. None is as for ``paired_interval``.
    """
    pairs = zip(found, baseline, strict=True)
    return _interval([_score_both(pair, metric, "valid", "auto") for pair in pairs], level)


@dataclass(frozen=True)
class SampleScores:
    """The scores of a network on a split."""

    scores: dict[str, float]  # all metrics by name
    metric: Metric  # the steering metric
    results: Numbers  # of all samples, (n, k)
    samples: int  # or target tokens


def _interval(
    pairs: Sequence[tuple[SampleScores, SampleScores]], level: float
) -> tuple[float, float] | None:
    """Return the interval of the improvement, with the samples of all pairs together."""
    first = pairs[0][0]
    ours, theirs = (
        np.concatenate([units_of(first.metric, pair[side].results) for pair in pairs])
        for side in (0, 1)
    )
    bounds = paired_interval(ours, theirs, first.metric.value, level=level)
    if bounds is None or first.metric.higher_is_better:
        return bounds
    return -bounds[1], -bounds[0]


def _score_both(
    references: Sequence[Path], metric: str, split: str, device: str
) -> tuple[SampleScores, SampleScores]:
    """Score two checkpoints on a split; the scores are the same object for the same file.

    The networks have the same task and data.
    """
    files = [find_checkpoint(str(reference)).resolve() for reference in references]
    ranks, first = Ranks(device), TrainedNetwork.load(str(files[0]))
    ours = theirs = score_samples(first, metric, ranks, split)
    if files[0] != files[1]:
        # The order of sentences depends on the batch size.
        size = first.config.loader.eval_batch_size
        theirs = score_samples(TrainedNetwork.load(str(files[1])), metric, ranks, split, size)
    return ours, theirs


def score_samples(
    trained: TrainedNetwork, metric: str, ranks: Ranks, split: str, batch_size: int | None = None
) -> SampleScores:
    """Score a network on a split; keep the results of samples.

    Validation samples are scored with the precision of the training, as there.
    """
    net, loader, objective = open_split(trained, ranks, split, batch_size)
    scores, samples = objective.scores(), 0

    def count(outputs: object, batch: Batch) -> None:
        nonlocal samples
        samples += objective.num_samples(batch)

    precision = trained.config.precision if split == "valid" else "fp32"
    with torch.inference_mode():
        found = evaluate(
            net,
            loader.epoch(0),
            objective,
            device=ranks.device,
            precision=precision,
            observe=count,
            scores=scores,
        )
    steering = objective.metrics[metric]
    return SampleScores(found, steering, scores.tables[steering.rows], samples)
