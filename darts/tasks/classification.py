"""Classification: one class for each image, row of numbers or text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.registry import choice
from darts.spaces import NetworkBase
from darts.tasks.chance import ChanceLevel, guessed_class
from darts.tasks.metrics import CLASSIFICATION_METRICS, ClassificationScores, Metric
from darts.tasks.own_loss import Loss, compute_own_loss, require_loss
from darts.tasks.task import TASKS, BaseObjective, Forward, Task


class ClassificationObjective(BaseObjective[SampleBatch, Tensor]):
    """Cross entropy of logits ``(B, classes)``, or another loss.

    Args:
        classes: Number of classes.
        loss: Function of logits ``(B, classes)`` and labels ``(B,)`` that returns the mean loss;
            None for the cross entropy.
        label_smoothing: Share of the target that is spread evenly over all classes.
        auxiliary: Factor of the auxiliary head's loss, for networks that have one.
    """

    metrics = CLASSIFICATION_METRICS

    def __init__(
        self,
        classes: int,
        *,
        label_smoothing: float = 0.0,
        auxiliary: float = 0.0,
        loss: Loss | None = None,
    ) -> None:
        self._own_loss = loss
        self.classes, self.label_smoothing, self.auxiliary = classes, label_smoothing, auxiliary
        self._last_scores: ClassificationScores | None = None

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss for logits ``(B, classes)`` and labels ``(B,)``.

        The cross entropy is in nats.
        """
        if self._own_loss is not None:
            return self._own_loss(logits, labels)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def supernet_loss(self, forward: Forward, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        samples, labels = batch
        logits = forward(samples)
        return self.loss(logits, labels), logits

    def network_loss(self, net: NetworkBase, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        samples, labels = batch
        logits, auxiliary = net(samples, auxiliary=True)
        loss = self.loss(logits, labels)
        if auxiliary is not None:
            loss = loss + self.auxiliary * self.loss(auxiliary, labels)
        return loss, logits

    def predict(self, forward: Forward, batch: SampleBatch) -> Tensor:
        return cast(Tensor, forward(batch[0]))  # logits

    def num_samples(self, batch: SampleBatch) -> int:
        return len(batch[1])

    def train_metrics(self, logits: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        """Return ``accuracy``."""
        return {"accuracy": (logits.argmax(1) == batch[1]).float().mean()}

    def scores(self, device: torch.device) -> ClassificationScores:
        self._last_scores = self.new_scores(device)
        return self._last_scores

    def new_scores(self, device: torch.device) -> ClassificationScores:
        """Build the object that ``scores`` returns."""
        return ClassificationScores(self.classes, device)

    def confusion_matrix(self) -> Tensor | None:
        return None if self._last_scores is None else self._last_scores.confusion_matrix

    def chance_level(self, targets: Tensor) -> ChanceLevel:
        return guessed_class(targets)


@TASKS.register
@dataclass
class Classification(Task):
    """The task of assigning one of several classes to a sample.

    Attributes:
        loss: What the training minimizes: the cross entropy, or a function that was passed to
            ``darts.search`` or ``darts.retrain``. Scores always report the cross entropy.
    """

    name: str = "classification"
    loss: str = choice("cross_entropy", "cross_entropy", "own")
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows", "audio")
    metrics: ClassVar[Mapping[str, Metric]] = CLASSIFICATION_METRICS

    def objective(
        self, target_names: Sequence[str], *, label_smoothing: float = 0.0, auxiliary: float = 0.0
    ) -> ClassificationObjective:
        is_own = self.loss == "own"
        if is_own and label_smoothing:
            raise ValueError(
                f"label_smoothing={label_smoothing}: belongs to task.loss=cross_entropy; set "
                "label_smoothing=0"
            )
        return ClassificationObjective(
            len(target_names),
            label_smoothing=label_smoothing,
            auxiliary=auxiliary,
            loss=compute_own_loss if is_own else None,
        )

    def check_training(self) -> None:
        if self.loss == "own":
            require_loss()


@TASKS.register
@dataclass
class TextClassification(Classification):
    """The task of assigning one of several classes to a text."""

    name: str = "text_classification"
    data_kinds: ClassVar[tuple[str, ...]] = ("documents",)
