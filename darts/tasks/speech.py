"""Speech: one word or sound for each recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darts.tasks.classification import Classification, ClassificationObjective
from darts.tasks.metrics import CLASSIFICATION_METRICS, ClassificationScores, Metric
from darts.tasks.own_loss import Loss
from darts.tasks.task import TASKS, ObjectiveSpec

if TYPE_CHECKING:
    import torchmetrics


def _word_error_rate(classes: int = 0) -> torchmetrics.Metric:
    from torchmetrics.text import WordErrorRate

    return WordErrorRate()


METRICS = {
    **CLASSIFICATION_METRICS,
    "word_error_rate": Metric("word_error_rate", False, _word_error_rate),
}


class SpeechScores(ClassificationScores):
    """Scores of classification, and the word error rate of the predicted class names.

    A class name has one or several words.
    """

    def __init__(self, class_names: Sequence[str], device: torch.device) -> None:
        super().__init__(len(class_names), device)
        self._class_names = tuple(class_names)
        self._word_error_rate = _word_error_rate().to(device)
        self.metric_names = (*self.metric_names, "word_error_rate")

    def update(self, outputs: Tensor, batch: tuple[Tensor, Tensor]) -> None:
        super().update(outputs, batch)
        predicted, true = (
            [self._class_names[label] for label in labels.tolist()]
            for labels in (outputs.argmax(1), batch[1])
        )
        self._word_error_rate.update(predicted, true)

    def compute(self) -> dict[str, float]:
        return super().compute() | {"word_error_rate": float(self._word_error_rate.compute())}


class SpeechObjective(ClassificationObjective):
    """Classification with the word error rate of class names."""

    metrics = METRICS

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        label_smoothing: float = 0.0,
        auxiliary: float = 0.0,
        loss: Loss | None = None,
    ) -> None:
        super().__init__(
            len(class_names), label_smoothing=label_smoothing, auxiliary=auxiliary, loss=loss
        )
        self._class_names = tuple(class_names)

    def new_scores(self, device: torch.device) -> SpeechScores:
        return SpeechScores(self._class_names, device)


@TASKS.register
@dataclass
class Speech(Classification):
    """The task of assigning one of several words or sounds to a recording."""

    captures: ClassVar[bool] = True
    name: str = "speech"
    data_kinds: ClassVar[tuple[str, ...]] = ("audio",)
    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    def make_objective(self, spec: ObjectiveSpec) -> SpeechObjective:
        return SpeechObjective(
            spec.target_names,
            label_smoothing=spec.label_smoothing,
            auxiliary=spec.auxiliary,
            loss=self.own_loss(spec),
        )
