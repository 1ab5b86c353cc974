"""Multi-label classification: any of several labels for each image or row."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.data.targets import LABELS
from darts.registry import choice
from darts.tasks.chance import ChanceLevel, lucky_average_precision
from darts.tasks.metrics import Metric, mean_metric
from darts.tasks.own_loss import OWN, Loss
from darts.tasks.sample_objective import SampleObjective, SampleTask
from darts.tasks.task import TASKS, ObjectiveSpec

if TYPE_CHECKING:
    import torchmetrics


def _average_precision(labels: int) -> torchmetrics.Metric:
    from torchmetrics.classification import MultilabelAveragePrecision

    # None: the mean is taken below, over the labels that occur.
    return MultilabelAveragePrecision(labels, average=None)


def _macro_f1(labels: int) -> torchmetrics.Metric:
    from torchmetrics.classification import MultilabelF1Score

    return MultilabelF1Score(labels, average="macro")


def _micro_f1(labels: int) -> torchmetrics.Metric:
    from torchmetrics.classification import MultilabelF1Score

    return MultilabelF1Score(labels, average="micro")


def _exact_match(labels: int) -> torchmetrics.Metric:
    from torchmetrics.classification import MultilabelExactMatch

    return MultilabelExactMatch(labels)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("average_precision", True, _average_precision),
        Metric("macro_f1", True, _macro_f1),
        Metric("micro_f1", True, _micro_f1),
        Metric("exact_match", True, _exact_match),
        Metric("loss", False, mean_metric),
    )
}


class MultiLabelScores:
    """Accumulator of logits and labels that computes all metrics.

    A sample counts as having a label if its probability is above one half.

    Args:
        labels: Number of labels, K.
        device: Device of the batches.

    Attributes:
        metric_names: All metrics.
    """

    metric_names: Sequence[str] = tuple(METRICS)

    def __init__(self, labels: int, device: torch.device) -> None:
        from torchmetrics.classification import MultilabelStatScores

        self._metrics = {name: metric.make(labels).to(device) for name, metric in METRICS.items()}
        self._counts = MultilabelStatScores(labels, average=None).to(device)

    def update(self, outputs: Tensor, batch: SampleBatch) -> None:
        """Add logits ``(B, K)`` and a batch with labels ``(B, K)``."""
        logits, labels = outputs.float(), batch[1]
        losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        probabilities, known = logits.sigmoid(), labels.long()
        self._counts.update(probabilities, known)
        for name, metric in self._metrics.items():
            if name == "loss":
                metric.update(losses)
            else:
                metric.update(probabilities, known)

    def compute(self) -> dict[str, float]:
        """Return all metrics by name, fractions in [0, 1] except the loss in nats per label.

        The mean of ``average_precision`` is over the labels that occur.
        """
        occurring = self._counts.compute()[:, 4] > 0  # the last column is the number of samples
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No positive samples found in target")
            values = {name: metric.compute() for name, metric in self._metrics.items()}
        values["average_precision"] = values["average_precision"][occurring].mean()
        return {name: float(value) for name, value in values.items()}


class MultiLabelObjective(SampleObjective):
    """Binary cross entropy of logits ``(B, K)``, the mean over all labels, or another loss.

    Args:
        labels: Number of labels, K.
        label_smoothing: Share by which each label is moved towards one half.
        auxiliary: Factor of the auxiliary head's loss, for networks that have one.
        loss: Function of logits and labels that returns the mean loss; None for the cross entropy.
    """

    metrics = METRICS

    def __init__(
        self,
        labels: int,
        *,
        label_smoothing: float = 0.0,
        auxiliary: float = 0.0,
        loss: Loss | None = None,
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, auxiliary=auxiliary, loss=loss)
        self.labels = labels

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross entropy in nats per label."""
        smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, smoothed)

    def train_metrics(self, logits: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        """Return ``exact_match``."""
        return {"exact_match": ((logits > 0) == (batch[1] > 0)).all(1).float().mean()}

    def scores(self, device: torch.device) -> MultiLabelScores:
        return MultiLabelScores(self.labels, device)

    def chance_level(self, targets: Tensor) -> ChanceLevel | None:
        """Return the average precision that random probabilities reach with luck."""
        if not bool((targets > 0).any()):
            return None
        limit = lucky_average_precision(targets)
        return ChanceLevel("average_precision", limit, True, "random probabilities, with luck")


@TASKS.register
@dataclass
class MultiLabel(SampleTask):
    """The task of deciding which of several labels a sample has.

    Attributes:
        loss: What the training minimizes: the binary cross entropy, or a function that was passed
            to ``darts.search`` or ``darts.retrain``. Scores always report the cross entropy.
    """

    captures: ClassVar[bool] = True
    name: str = "multi_label"
    loss: str = choice("cross_entropy", "cross_entropy", OWN)
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows")
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    targets: ClassVar[str] = LABELS

    def make_objective(self, spec: ObjectiveSpec) -> MultiLabelObjective:
        return MultiLabelObjective(
            len(spec.target_names),
            label_smoothing=spec.label_smoothing,
            auxiliary=spec.auxiliary,
            loss=self.own_loss(spec),
        )
