"""One of several classes for each sample: images, rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.tasks.metrics import CLASSIFICATION, ClassificationScores, Metric
from darts.tasks.task import TASKS, Forward, Objective, Task


class ClassificationObjective(Objective):
    """Cross entropy on logits; a batch is ``(samples, labels)``, outputs are logits.

    Args:
        classes: number of classes.
        label_smoothing: share of the target spread evenly over all classes.
        auxiliary: factor of the auxiliary head's loss.
    """

    metrics = CLASSIFICATION

    def __init__(
        self, classes: int, *, label_smoothing: float = 0.0, auxiliary: float = 0.0
    ) -> None:
        self.classes, self.label_smoothing, self.auxiliary = classes, label_smoothing, auxiliary
        self._last: ClassificationScores | None = None

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy in nats; logits ``(B, classes)``, labels ``(B,)``."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def supernet_loss(
        self, forward: Forward, batch: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Loss and logits of a network that maps images to logits."""
        images, labels = batch
        logits = forward(images)
        return self.loss(logits, labels), logits

    def network_loss(self, net: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss and logits of a discrete network, its auxiliary head included."""
        images, labels = batch
        logits, auxiliary = net(images, auxiliary=True)
        loss = self.loss(logits, labels)
        if auxiliary is not None:
            loss = loss + self.auxiliary * self.loss(auxiliary, labels)
        return loss, logits

    def predict(self, forward: Forward, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Logits ``(B, classes)``."""
        logits: Tensor = forward(batch[0])
        return logits

    def num_samples(self, batch: tuple[Tensor, Tensor]) -> int:
        """``B``."""
        return len(batch[1])

    def train_metrics(self, outputs: Tensor, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """``accuracy``."""
        return {"accuracy": (outputs.argmax(1) == batch[1]).float().mean()}

    def scores(self, device: torch.device) -> ClassificationScores:
        """An empty collection of this task's scores."""
        self._last = self.collection(device)
        return self._last

    def collection(self, device: torch.device) -> ClassificationScores:
        """What ``scores`` returns."""
        return ClassificationScores(self.classes, device)

    def confusion_matrix(self) -> Tensor | None:
        """Of the last scoring, see ``ClassificationScores``."""
        return None if self._last is None else self._last.confusion


@TASKS.register
@dataclass
class Classification(Task):
    """Samples in, one of several classes out."""

    name: str = "classification"
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows", "audio")
    metrics: ClassVar[Mapping[str, Metric]] = CLASSIFICATION

    def objective(
        self, names: Sequence[str], *, label_smoothing: float = 0.0, auxiliary: float = 0.0
    ) -> ClassificationObjective:
        return ClassificationObjective(
            len(names), label_smoothing=label_smoothing, auxiliary=auxiliary
        )
