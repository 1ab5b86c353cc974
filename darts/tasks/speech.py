"""Speech: one word or sound for each recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from darts.data import SampleBatch
from darts.tasks.classification import Classification
from darts.tasks.metrics import CLASSIFICATION_METRICS, Metric, ratio
from darts.tasks.task import TASKS, Objective


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


METRICS = {
    **CLASSIFICATION_METRICS,
    "word_error_rate": Metric("word_error_rate", False, _word_errors, ratio),
}


@TASKS.register
@dataclass
class Speech(Classification):
    """The task of assigning one of several words or sounds to a recording."""

    captures: ClassVar[bool] = True
    name: str = "speech"
    data_kinds: ClassVar[tuple[str, ...]] = ("audio",)
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
