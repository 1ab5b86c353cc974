"""Which of several words, or other sounds, a recording is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.tasks.classification import Classification, ClassificationObjective
from darts.tasks.metrics import CLASSIFICATION, ClassificationScores, Metric
from darts.tasks.task import TASKS


def _word_errors(classes: int) -> Any:
    from torchmetrics.text import WordErrorRate

    return WordErrorRate()


METRICS = {**CLASSIFICATION, "word_error_rate": Metric("word_error_rate", False, _word_errors)}


class SpeechScores(ClassificationScores):
    """Scores of classification, and how many words of the classes' names are wrong.

    Args:
        names: of the classes; of several words, perhaps.
        device: where the batches are.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        super().__init__(len(names), device)
        self._names = tuple(names)
        self._words = _word_errors(len(names)).to(device)

    @property
    def metrics(self) -> dict[str, Any]:
        """What is counted, by name."""
        return {**super().metrics, "word_error_rate": self._words}

    def update(self, outputs: Tensor, batch: tuple[Tensor, Tensor]) -> None:
        """Add a batch: logits ``(B, classes)``, and samples with labels ``(B,)``."""
        super().update(outputs, batch)
        said = [self._names[number] for number in outputs.argmax(1).tolist()]
        self._words.update(said, [self._names[number] for number in batch[1].tolist()])


class SpeechObjective(ClassificationObjective):
    """Classification that knows its classes by name.

    Args:
        names: of the classes.
        **options: of ``ClassificationObjective``.
    """

    metrics = METRICS

    def __init__(self, names: Sequence[str], **options: float) -> None:
        super().__init__(len(names), **options)
        self._names = tuple(names)

    def collection(self, device: torch.device) -> SpeechScores:
        """What ``scores`` returns."""
        return SpeechScores(self._names, device)


@TASKS.register
@dataclass
class Speech(Classification):
    """Recordings in, one of several classes out."""

    name: str = "speech"
    data_kinds: ClassVar[tuple[str, ...]] = ("audio",)
    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    def objective(
        self, names: Sequence[str], *, label_smoothing: float = 0.0, auxiliary: float = 0.0
    ) -> SpeechObjective:
        return SpeechObjective(names, label_smoothing=label_smoothing, auxiliary=auxiliary)
