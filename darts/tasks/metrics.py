"""Metrics by name, with their direction of improvement, and the scores of classification.

torchmetrics computes the values. Commands and configuration use the same dictionaries of metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    import torchmetrics


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: Key in summaries after the name of the split, as in ``valid_accuracy``.
        higher_is_better: Whether a higher value is better than a lower one.
        make: Builds the torchmetrics object for a number of classes.
        min_classes: Minimum number of classes for which the metric is defined.
    """

    name: str
    higher_is_better: bool
    make: Callable[[int], torchmetrics.Metric]
    min_classes: int = 2

    def prefers(self, new: float, old: float | None) -> bool:
        """Return whether ``new`` replaces ``old``, which is None if there is no value yet.

        An equal value replaces ``old``; NaN never does.
        """
        if new != new:
            return False
        if old is None:
            return True
        return new >= old if self.higher_is_better else new <= old


def _classification(class_name: str, **options: object) -> Callable[[int], torchmetrics.Metric]:
    def make(classes: int) -> torchmetrics.Metric:
        from torchmetrics import classification

        metric_class: type[torchmetrics.Metric] = getattr(classification, class_name)
        return metric_class(num_classes=classes, **options)

    return make


def mean_metric(classes: int = 0) -> torchmetrics.Metric:
    """Return a mean over all values; ``classes`` is unused."""
    from torchmetrics import MeanMetric

    # By default torchmetrics drops NaN with a warning, which hides that a network has diverged.
    return MeanMetric(nan_strategy=float("nan"))


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
    """Return the cross entropy of each target that is not ignored, ``(n,)``; see ``token_loss``."""
    flat = targets.flatten()
    losses = F.cross_entropy(
        logits.flatten(0, 1), flat, reduction="none", ignore_index=ignore_index
    )
    return losses[flat != ignore_index]


def perplexity(loss: float) -> float:
    """Return the perplexity for a loss in nats, limited to about 1e304 to avoid overflow."""
    return math.exp(min(loss, 700.0))


_top5_accuracy = _classification("MulticlassAccuracy", average="micro", top_k=5)
CLASSIFICATION_METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _classification("MulticlassAccuracy", average="micro")),
        Metric("top5_accuracy", True, _top5_accuracy, min_classes=6),
        Metric("macro_f1", True, _classification("MulticlassF1Score", average="macro")),
        Metric("micro_f1", True, _classification("MulticlassF1Score", average="micro")),
        Metric("loss", False, mean_metric),
    )
}

MAX_CONFUSION_CLASSES = 200
"""Maximum number of classes of a confusion matrix; larger ones are unreadable."""


class ClassificationScores:
    """Accumulator of logits and labels that computes all metrics of classification.

    Attributes:
        metric_names: Metrics that are defined for this number of classes.
        confusion_matrix: Numbers of samples by true class (row) and predicted class (column), on
            the CPU; None before ``compute`` and for more than ``MAX_CONFUSION_CLASSES`` classes.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self._metrics = {
            name: metric.make(classes).to(device)
            for name, metric in CLASSIFICATION_METRICS.items()
            if classes >= metric.min_classes
        }
        has_matrix = 2 <= classes <= MAX_CONFUSION_CLASSES
        make = _classification("MulticlassConfusionMatrix")
        self._matrix = make(classes).to(device) if has_matrix else None
        self.confusion_matrix: Tensor | None = None
        self.metric_names: tuple[str, ...] = tuple(self._metrics)

    def update(self, outputs: Tensor, batch: tuple[Tensor, Tensor]) -> None:
        """Add logits ``(B, classes)`` and a batch with labels ``(B,)``."""
        logits, labels = outputs.float(), batch[1]
        if self._matrix is not None:
            self._matrix.update(logits, labels)
        for name, metric in self._metrics.items():
            if name == "loss":
                metric.update(F.cross_entropy(logits, labels, reduction="none"))
            else:
                metric.update(logits, labels)

    def compute(self) -> dict[str, float]:
        """Return all metrics by name, fractions in [0, 1] except the loss in nats."""
        if self._matrix is not None:
            self.confusion_matrix = self._matrix.compute().cpu()
        return {name: float(metric.compute()) for name, metric in self._metrics.items()}
