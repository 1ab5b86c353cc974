"""Classification: one class for each image, row of numbers, text or recording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.data.text_file import shortened
from darts.ops.transfer import constant_on
from darts.registry import choice
from darts.tasks.chance import ChanceLevel, guessed_class, guessed_classes
from darts.tasks.metrics import CLASSIFICATION_METRICS, Metric, Scores, by_name, class_pairs, ratio
from darts.tasks.sample_objective import OWN, SampleObjective, SampleTask
from darts.tasks.task import TASKS, Objective, ObjectiveSpec

# Maximum number of classes of a confusion matrix; larger ones are unreadable.
MAX_CONFUSION_CLASSES = 200


def class_weights(option: object, spec: ObjectiveSpec) -> Tensor | None:
    """Return the weight of each class in the training loss, ``(classes,)``; None for equal weights.

    Their mean over the training samples is 1.

    Args:
        option: "none", "balanced" or a mapping from names of classes to weights; others have 1.
        spec: Names and counts of the classes.

    Raises:
        ValueError: For other options, unknown classes, and weights that are not positive.
    """
    if option == "none":
        return None
    names = spec.target_names
    counts = torch.tensor(spec.class_counts or [1] * len(names)).double()
    if option == "balanced":
        return _with_mean_1(1 / counts.clamp(min=1), counts)
    if not isinstance(option, Mapping):
        raise ValueError(
            f"task.class_weights={option}: must be none, balanced or a mapping from names of "
            "classes to weights"
        )
    weights = dict.fromkeys(names, 1.0)
    for name, weight in option.items():
        if str(name) not in weights:
            raise ValueError(
                f"task.class_weights: there is no class {name!r}; the classes are "
                f"{shortened(names)}"
            )
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 < weight < math.inf:
            raise ValueError(f"task.class_weights.{name}={weight}: must be a positive number")
        weights[str(name)] = float(weight)
    return _with_mean_1(torch.tensor([*weights.values()]).double(), counts)


def _with_mean_1(weights: Tensor, counts: Tensor) -> Tensor:
    """Scale weights of classes to a mean of 1 over the training samples."""
    return (weights * counts.sum() / (weights * counts).sum()).float()


class ClassificationObjective(SampleObjective):
    """Cross entropy of logits ``(B, classes)``, or another loss."""

    def __init__(self, task: Classification, spec: ObjectiveSpec) -> None:
        super().__init__(task, spec)
        self.classes = len(spec.target_names)
        if self.classes < 2:
            raise ValueError(f"{task.name} needs two or more classes, not {spec.target_names}")
        self.metrics = {
            name: metric
            for name, metric in task.metrics.items()
            if metric.min_classes <= self.classes <= metric.max_classes
        }
        self.weights = class_weights(task.class_weights, spec)
        if self.weights is not None and self._uses_own_loss:
            raise ValueError(
                f"task.class_weights={task.class_weights}: belongs to the loss of the task, not to "
                "task.loss=own; set task.class_weights=none"
            )
        self._last_scores: Scores | None = None

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy in nats of logits ``(B, classes)`` and labels ``(B,)``."""
        compute = partial(F.cross_entropy, outputs, targets, label_smoothing=self.label_smoothing)
        if self.weights is None:
            return compute()
        # Not divided by the weights of the batch, which differ between ranks.
        weights = constant_on(self.weights, outputs.device)
        return compute(weight=weights, reduction="sum") / len(targets)

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
        # With weights, accuracy may be below the share of the most frequent class for good reason.
        return guessed_class(targets) if self.weights is None else guessed_classes(targets)


@TASKS.register
@dataclass
class Classification(SampleTask):
    """The task of assigning one of several classes to a sample.

    Attributes:
        class_weights: Weights of the classes in the training loss, see ``class_weights``. With
            "balanced", all classes have equal shares of the loss, however many samples they have
            (King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9, 2001).
            Scores do not depend on the weights.
        calibrate: Whether a retraining divides the outputs of its network by a temperature, see
            ``darts.recipes.temperature``. Accuracies stay the same.
    """

    name: str = "classification"
    loss: str = choice("cross_entropy", "cross_entropy", OWN)
    class_weights: Any = "none"
    calibrate: bool = False
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


@TASKS.register
@dataclass
class Speech(Classification):
    """The task of assigning one of several words or sounds to a recording."""

    name: str = "speech"
    data_kinds: ClassVar[tuple[str, ...]] = ("audio",)
    metrics: ClassVar[Mapping[str, Metric]] = CLASSIFICATION_METRICS | by_name(
        Metric("word_error_rate", False, _word_errors, ratio)
    )
