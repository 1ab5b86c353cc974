"""Metrics, each computed from the results of single samples, and the scores of a data split.

A metric has two parts. The first one returns a row of numbers for each sample of a batch, such as
its loss. The second one computes the metric from the rows and from how often each row counts. For
the score of a split, each row counts once. The bootstrap of ``darts.judging.resampling`` computes
the metric of many resamples from the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from darts.data import SampleBatch

if TYPE_CHECKING:
    from darts.tasks.task import Objective

Numbers: TypeAlias = NDArray[np.float64]

# Returns the results of the samples of a batch, `(samples, k)`, from objective, outputs and
# batch. Metrics with the same function share its results.
Rows = Callable[[Any, Any, Any], Tensor]

# Computes the metric of resamples, `(draws,)`. Its arguments are how often each resample
# contains each row, `(draws, rows)`, and the rows, `(rows, k)`.
Value = Callable[[Numbers, Numbers], Numbers]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: Key in summaries after the name of the split, as in ``valid_accuracy``.
        higher_is_better: Whether a higher value is better than a lower one.
        rows: Returns the results of single samples.
        value: Computes the metric from the results.
        min_classes: Minimum number of classes for which the metric is defined.
        max_classes: Maximum number of classes for which it is computed.
        text: Whether the samples are the consecutive tokens of a text, which are not independent.
    """

    name: str
    higher_is_better: bool
    rows: Rows
    value: Value
    min_classes: int = 2
    max_classes: float = math.inf
    text: bool = False

    def of(self, rows: Numbers) -> float:
        """Return the metric of samples ``(n, k)`` that count once each."""
        return float(self.value(np.ones((1, len(rows))), rows)[0])

    def prefers(self, new: float, old: float | None) -> bool:
        """Return whether ``new`` replaces ``old``, which is None if there is no value yet.

        An equal value replaces ``old``; NaN never does.
        """
        if new != new:
            return False
        if old is None:
            return True
        return new >= old if self.higher_is_better else new <= old


def by_name(*metrics: Metric) -> dict[str, Metric]:
    """Return metrics by their names, in this order."""
    return {metric.name: metric for metric in metrics}


class Scores:
    """Accumulator of the results of samples, which computes all metrics of an objective.

    Attributes:
        tables: After ``compute``, the results of all samples ``(n, k)`` by ``Metric.rows``.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective, self._metrics = objective, objective.metrics
        self._parts: dict[Rows, list[Tensor]] = {m.rows: [] for m in self._metrics.values()}
        self.tables: dict[Rows, Numbers] = {}

    def update(self, outputs: Any, batch: Any) -> None:
        """Add the predictions for a batch."""
        for rows, parts in self._parts.items():
            parts.append(rows(self._objective, outputs, batch).detach())

    def compute(self) -> dict[str, float]:
        """Return all metrics by name, over the samples of all ranks."""
        self.tables = {rows: joined(parts) for rows, parts in self._parts.items()}
        with np.errstate(all="ignore"):  # a network that has diverged
            return {n: metric.of(self.tables[metric.rows]) for n, metric in self._metrics.items()}


def joined(parts: Sequence[Tensor]) -> Numbers:
    """Return the rows of all batches of all ranks, ``(n, k)``."""
    own = [part.cpu().double().numpy() for part in parts]
    if dist.is_available() and dist.is_initialized():
        gathered: list[list[Numbers]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, own)
        own = [part for parts_of_rank in gathered for part in parts_of_rank]
    return np.concatenate(own)


def wide(values: Tensor) -> Tensor:
    """Return values in float64; in float32 on Apple's GPUs, which have no float64."""
    return values.float() if values.device.type == "mps" else values.double()


def counted(values: Tensor) -> Tensor:
    """Return values ``(n,)`` and a column of ones, ``(n, 2)``."""
    numbers = wide(values)
    return torch.stack([numbers, torch.ones_like(numbers)], dim=1)


def ratio(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the sum of the first column over the sum of the second one, ``(draws,)``."""
    sums = counts @ rows
    return np.asarray(sums[:, 0] / sums[:, 1])


def perplexity(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the perplexity for losses in nats and numbers of tokens, at most about 1e304."""
    return np.exp(np.minimum(ratio(counts, rows), 700.0))


def bits(counts: Numbers, rows: Numbers) -> Numbers:
    """Return bits per token for losses in nats and numbers of tokens."""
    return ratio(counts, rows) / math.log(2)


def token_loss(
    logits: Tensor, targets: Tensor, ignore_index: int, label_smoothing: float
) -> Tensor:
    """Return the mean cross entropy in nats over all targets except ``ignore_index``, a scalar.

    Logits are ``(T, B, V)``, targets ``(T, B)``.
    """
    return F.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten(),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def token_losses(logits: Tensor, targets: Tensor, ignore_index: int) -> Tensor:
    """Return the cross entropy of each target, 0 if it is ignored, ``(T, B)``."""
    losses = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=ignore_index
    )
    return losses.view_as(targets)


def class_pairs(objective: Objective, logits: Tensor, batch: SampleBatch) -> Tensor:
    """Return the true and the predicted class of each sample."""
    return wide(torch.stack([batch[1], logits.argmax(1)], dim=1))


def _hits(objective: Objective, logits: Tensor, batch: SampleBatch) -> Tensor:
    return counted(logits.argmax(1) == batch[1])


def _top5_hits(objective: Objective, logits: Tensor, batch: SampleBatch) -> Tensor:
    return counted((logits.topk(5, dim=1).indices == batch[1][:, None]).any(1))


def _losses(objective: Objective, logits: Tensor, batch: SampleBatch) -> Tensor:
    return counted(F.cross_entropy(logits.float(), batch[1], reduction="none"))


def _per_class(counts: Numbers, labels: NDArray[np.int64], classes: int) -> Numbers:
    """Return how often the samples of each class count, ``(classes, draws)``.

    Args:
        counts: How often each resample contains each sample, ``(draws, samples)``.
        labels: Class of each sample, ``(samples,)``.
        classes: Number of classes.
    """
    from scipy.sparse import csr_matrix

    members = (np.ones(len(labels)), (labels, np.arange(len(labels))))
    return np.asarray(csr_matrix(members, (classes, len(labels))) @ counts.T)


def macro_f1(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the mean F1 of the classes that are present or predicted, for ``class_pairs``."""
    true, predicted = rows.astype(np.int64).T
    classes = int(rows.max(initial=0)) + 1
    total = _per_class(counts, true, classes) + _per_class(counts, predicted, classes)
    hits = _per_class(counts * (true == predicted), true, classes)
    f1 = 2 * hits / np.maximum(total, 1.0)
    return np.asarray(f1.sum(0) / (total > 0).sum(0))


def balanced_accuracy(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the mean share of correct predictions over the true classes, for ``class_pairs``."""
    true, predicted = rows.astype(np.int64).T
    classes = int(true.max(initial=0)) + 1
    total = _per_class(counts, true, classes)
    hits = _per_class(counts * (true == predicted), true, classes)
    recall = hits / np.maximum(total, 1.0)
    return np.asarray(recall.sum(0) / (total > 0).sum(0))


def threshold_counts(counts: Numbers, scores: Numbers, labels: Numbers) -> tuple[Numbers, Numbers]:
    """Return how many samples, and how many positive ones, reach each threshold.

    Args:
        counts: How often each resample contains each sample, ``(draws, samples)``.
        scores: Scores ``(samples,)``. Equal ones are one threshold.
        labels: 1 for positive samples, else 0, ``(samples,)``.

    Returns:
        Two arrays ``(draws, thresholds)``, from the highest threshold to the lowest.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.nonzero(np.diff(scores[order]))[0], len(order) - 1)  # of each threshold
    drawn = counts[:, order]
    return drawn.cumsum(1)[:, last], (drawn * labels[order]).cumsum(1)[:, last]


def auroc(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the mean area under the ROC curve of each class against all others.

    Classes that no sample or every sample has do not count. ``_class_probabilities`` returns the
    rows.

    References:
        Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006.
    """
    areas = []
    for label, probabilities in enumerate(rows[:, 1:].T):
        ranked, found = threshold_counts(counts, probabilities, rows[:, 0] == label)
        wrong = ranked - found
        gained = np.diff(wrong, axis=1, prepend=0.0)
        before = np.concatenate([np.zeros((len(found), 1)), found[:, :-1]], axis=1)
        total = found[:, -1] * wrong[:, -1]
        area = (gained * (before + found) / 2).sum(1)
        areas.append(np.where(total > 0, area / np.maximum(total, 1.0), np.nan))
    known = ~np.isnan(areas)
    return np.asarray(np.where(known, areas, 0.0).sum(0) / known.sum(0))


def _confidences(objective: Objective, logits: Tensor, batch: SampleBatch) -> Tensor:
    """Return the probability of the predicted class, and whether it is right, ``(B, 2)``."""
    probability, predicted = logits.float().softmax(1).max(1)
    return wide(torch.stack([probability, (predicted == batch[1]).float()], dim=1))


def calibration_error(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the expected calibration error, for ``_confidences``.

    It is the mean difference between probability and accuracy, over 15 intervals of probabilities
    (Guo et al., ICML 2017, section 2).
    """
    intervals = np.nan_to_num(np.minimum(rows[:, 0] * 15, 14)).astype(np.int64)
    members = np.eye(15)[intervals]  # (rows, 15)
    sums = (counts * (rows[:, 0] - rows[:, 1])) @ members
    return np.asarray(np.abs(sums).sum(1) / counts.sum(1))


def _class_probabilities(objective: Objective, logits: Tensor, batch: SampleBatch) -> Tensor:
    """Return the true class and the probability of each class, ``(B, 1 + classes)``."""
    return wide(torch.cat([batch[1][:, None].float(), logits.float().softmax(1)], dim=1))


CLASSIFICATION_METRICS = by_name(
    Metric("accuracy", True, _hits, ratio),
    Metric("top5_accuracy", True, _top5_hits, ratio, min_classes=6),
    Metric("balanced_accuracy", True, class_pairs, balanced_accuracy),
    Metric("macro_f1", True, class_pairs, macro_f1),
    Metric("micro_f1", True, _hits, ratio),  # equals the accuracy for one class per sample
    Metric("auroc", True, _class_probabilities, auroc, max_classes=100),
    Metric("calibration_error", False, _confidences, calibration_error),
    Metric("loss", False, _losses, ratio),
)
