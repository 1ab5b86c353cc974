"""Classification: one class for each image, row of numbers, text or recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.registry import choice
from darts.tasks.chance import ChanceLevel, guessed_class
from darts.tasks.metrics import CLASSIFICATION_METRICS, Metric, Scores, by_name, class_pairs, ratio
from darts.tasks.sample_objective import OWN, SampleObjective, SampleTask
from darts.tasks.task import TASKS, Objective, ObjectiveSpec

MAX_CONFUSION_CLASSES = 200
"""Maximum number of classes of a confusion matrix; larger ones are unreadable."""


class ClassificationObjective(SampleObjective):
    """Cross entropy of logits ``(B, classes)``, or another loss."""

    def __init__(self, task: SampleTask, spec: ObjectiveSpec) -> None:
        super().__init__(task, spec)
        self.classes = len(spec.target_names)
        self.metrics = {n: m for n, m in task.metrics.items() if self.classes >= m.min_classes}
        self._last_scores: Scores | None = None

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy in nats of logits ``(B, classes)`` and labels ``(B,)``."""
        return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def train_metrics(self, logits: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        return {"accuracy": (logits.argmax(1) == batch[1]).float().mean()}

    def scores(self) -> Scores:
        self._last_scores = Scores(self)
        return self._last_scores

    def confusion_matrix(self) -> Tensor | None:
        tables = {} if self._last_scores is None else self._last_scores.tables
        if class_pairs not in tables or self.classes > MAX_CONFUSION_CLASSES:
            return None
        true, predicted = tables[class_pairs].astype(np.int64).T
        counts = np.bincount(true * self.classes + predicted, minlength=self.classes**2)
        return torch.from_numpy(counts.reshape(self.classes, self.classes))

    def chance_level(self, targets: Tensor) -> ChanceLevel:
        return guessed_class(targets)


@TASKS.register_capturable
@dataclass
class Classification(SampleTask):
    """The task of assigning one of several classes to a sample."""

    name: str = "classification"
    loss: str = choice("cross_entropy", "cross_entropy", OWN)
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows", "audio")
    metrics: ClassVar[Mapping[str, Metric]] = CLASSIFICATION_METRICS

    def make_objective(self, spec: ObjectiveSpec) -> ClassificationObjective:
        return ClassificationObjective(self, spec)


@TASKS.register
@dataclass
class TextClassification(Classification):
    """The task of assigning one of several classes to a text."""

    name: str = "text_classification"
    data_kinds: ClassVar[tuple[str, ...]] = ("documents",)


def _word_errors(objective: Objective, logits: Tensor, batch: SampleBatch) -> Tensor:
    """Return the wrong words and the words of each true class name."""
    names = objective.target_names
    pairs = zip(logits.argmax(1).tolist(), batch[1].tolist(), strict=True)
    rows = [_errors_of(names[predicted], names[true]) for predicted, true in pairs]
    return torch.tensor(rows, dtype=torch.float64)


@cache
def _errors_of(predicted: str, true: str) -> tuple[float, float]:
    """Return the wrong words and the words of a class name, which has one or several."""
    from torchmetrics.functional.text import word_error_rate

    words = len(true.split())
    return round(float(word_error_rate([predicted], [true])) * words), words


@TASKS.register_capturable
@dataclass
class Speech(Classification):
    """The task of assigning one of several words or sounds to a recording."""

    name: str = "speech"
    data_kinds: ClassVar[tuple[str, ...]] = ("audio",)
    metrics: ClassVar[Mapping[str, Metric]] = CLASSIFICATION_METRICS | by_name(
        Metric("word_error_rate", False, _word_errors, ratio)
    )
