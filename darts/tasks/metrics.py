"""The scores a task can report, by name, and which way is better.

The counting is torchmetrics'; what is ours is the registry that commands and configuration share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        name: the key in summaries, where the split stands before it (``valid_accuracy``).
        higher_is_better: direction of improvement.
        make: builds the torchmetrics object for a number of classes.
        min_classes: the score means nothing with fewer classes than this.
    """

    name: str
    higher_is_better: bool
    make: Callable[[int], Any]
    min_classes: int = 2

    def prefers(self, new: float, old: float | None) -> bool:
        """Whether to prefer ``new``, the later one: no number never, a tie always."""
        if new != new:
            return False
        if old is None:
            return True
        return new >= old if self.higher_is_better else new <= old


def _classification(kind: str, **options: Any) -> Callable[[int], Any]:
    def make(classes: int) -> Any:
        from torchmetrics import classification

        return getattr(classification, kind)(num_classes=classes, **options)

    return make


def mean_metric(classes: int = 0) -> Any:
    """A mean over all samples, of whatever is given to it."""
    from torchmetrics import MeanMetric

    # By default the metric would leave NaN out with a warning, and a diverged network look fine.
    return MeanMetric(nan_strategy=float("nan"))


CLASSIFICATION = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _classification("MulticlassAccuracy", average="micro")),
        Metric(
            "top5_accuracy",
            True,
            _classification("MulticlassAccuracy", average="micro", top_k=5),
            min_classes=6,
        ),
        Metric("macro_f1", True, _classification("MulticlassF1Score", average="macro")),
        Metric("micro_f1", True, _classification("MulticlassF1Score", average="micro")),
        Metric("loss", False, mean_metric),
    )
}


MATRIX = 200
"""Classes up to which a confusion matrix is counted; nobody reads a larger one."""


class ClassificationScores:
    """Gathers logits and labels batch by batch and computes every score at the end.

    Args:
        classes: number of classes.
        device: where the batches are.

    Attributes:
        confusion: after ``compute``, samples by true and by said class, ``(classes, classes)`` on
            the CPU; None before it, and for more than ``MATRIX`` classes.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self._counters = {
            name: metric.make(classes).to(device)
            for name, metric in CLASSIFICATION.items()
            if classes >= metric.min_classes
        }
        counted = 2 <= classes <= MATRIX
        make = _classification("MulticlassConfusionMatrix")
        self._matrix = make(classes).to(device) if counted else None
        self.confusion: Tensor | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """What is counted, by name."""
        return self._counters

    def update(self, outputs: Tensor, batch: tuple[Tensor, Tensor]) -> None:
        """Add a batch: logits ``(B, classes)``, and samples with labels ``(B,)``."""
        logits, labels = outputs.float(), batch[1]
        if self._matrix is not None:
            self._matrix.update(logits, labels)
        for name, metric in self._counters.items():
            if name == "loss":
                losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
                metric.update(losses)
            else:
                metric.update(logits, labels)

    def compute(self) -> dict[str, float]:
        """Scores by name, fractions in [0, 1] except the loss (nats)."""
        if self._matrix is not None:
            self.confusion = self._matrix.compute().cpu()
        return {name: float(metric.compute()) for name, metric in self.metrics.items()}
