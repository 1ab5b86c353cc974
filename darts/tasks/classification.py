"""Images in, one of several classes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.tasks.metrics import CLASSIFICATION, ClassificationScores


@dataclass(frozen=True)
class Classification:
    """Cross entropy on logits.

    Attributes:
        classes: number of classes.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al.,
            arXiv:1512.00567, section 7).
        auxiliary_weight: factor of the auxiliary head's loss, for networks that have one.
    """

    classes: int
    label_smoothing: float = 0.0
    auxiliary_weight: float = 0.0

    metrics = CLASSIFICATION

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy in nats; logits ``(B, classes)``, labels ``(B,)``."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def supernet_loss(self, forward: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
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
            loss = loss + self.auxiliary_weight * self.loss(auxiliary, labels)
        return loss, logits

    def scores(self, device: torch.device) -> ClassificationScores:
        """An empty collection of this task's scores."""
        return ClassificationScores(self.classes, device)
