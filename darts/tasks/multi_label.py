"""Multi-label classification: any of several labels for each image or row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.data.targets import LABELS
from darts.registry import choice
from darts.tasks.chance import ChanceLevel, lucky_average_precision
from darts.tasks.metrics import Metric, Numbers, by_name, counted, ratio, threshold_counts, wide
from darts.tasks.sample_objective import OWN, SampleObjective, SampleTask
from darts.tasks.task import TASKS, ObjectiveSpec


def _label_rows(objective: MultiLabelObjective, logits: Tensor, batch: SampleBatch) -> Tensor:
    """Return probabilities and labels, ``(B, 2 * K)``."""
    # float32 decides which samples have equal probabilities.
    return wide(torch.cat([logits.float().sigmoid(), batch[1]], dim=1))


def _losses(objective: MultiLabelObjective, logits: Tensor, batch: SampleBatch) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(logits.float(), batch[1], reduction="none")
    return counted(losses.mean(1))


def _split(rows: Numbers) -> tuple[Numbers, Numbers]:
    """Return which labels are predicted, with a probability above one half, and which are true."""
    predicted, true = np.split((rows > 0.5).astype(np.float64), 2, axis=1)
    return predicted, true


def _macro_f1(counts: Numbers, rows: Numbers) -> Numbers:
    predicted, true = _split(rows)
    hits, total = counts @ (predicted * true), counts @ (predicted + true)
    return np.asarray((2 * hits / np.maximum(total, 1.0)).mean(1))


def _micro_f1(counts: Numbers, rows: Numbers) -> Numbers:
    predicted, true = _split(rows)
    hits, total = counts @ (predicted * true).sum(1), counts @ (predicted + true).sum(1)
    return np.asarray(2 * hits / np.maximum(total, 1.0))


def _exact_match(counts: Numbers, rows: Numbers) -> Numbers:
    predicted, true = _split(rows)
    return np.asarray(counts @ (predicted == true).all(1) / counts.sum(1))


def _average_precision(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the mean of ``_precision_of_label`` over the labels that occur, ``(draws,)``."""
    probabilities, true = np.split(rows, 2, axis=1)
    columns = zip(probabilities.T, true.T, strict=True)
    known = np.stack([_precision_of_label(counts, *column) for column in columns], axis=1)
    occurs = ~np.isnan(known)
    return np.asarray(np.where(occurs, known, 0.0).sum(1) / np.maximum(occurs.sum(1), 1))


def _precision_of_label(counts: Numbers, scores: Numbers, labels: Numbers) -> Numbers:
    """Return the mean precision at the samples with a label; NaN without any, ``(draws,)``.

    Equal scores ``(samples,)`` are one threshold. Labels ``(samples,)`` are 0 or 1.
    """
    ranked, found = threshold_counts(counts, scores, labels)
    precision = found / np.maximum(ranked, 1.0)
    gained = np.diff(found, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray((precision * gained).sum(1) / found[:, -1])


METRICS = by_name(
    Metric("average_precision", True, _label_rows, _average_precision),
    Metric("macro_f1", True, _label_rows, _macro_f1),
    Metric("micro_f1", True, _label_rows, _micro_f1),
    Metric("exact_match", True, _label_rows, _exact_match),
    Metric("loss", False, _losses, ratio),
)


class MultiLabelObjective(SampleObjective):
    """Binary cross entropy of logits ``(B, K)``, the mean over all labels, or another loss."""

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy in nats per label; smoothing moves labels towards one half."""
        smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, smoothed)

    def train_metrics(self, logits: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        return {"exact_match": ((logits > 0) == (batch[1] > 0)).all(1).float().mean()}

    def chance_level(self, targets: Tensor) -> ChanceLevel | None:
        """Return the average precision that random probabilities reach with luck."""
        if not bool((targets > 0).any()):
            return None
        limit = lucky_average_precision(targets)
        return ChanceLevel("average_precision", limit, True, "random probabilities, with luck")


@TASKS.register
@dataclass
class MultiLabel(SampleTask):
    """The task of deciding which of several labels a sample has."""

    name: str = "multi_label"
    loss: str = choice("cross_entropy", "cross_entropy", OWN)
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows")
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    targets: ClassVar[str] = LABELS

    def make_objective(self, spec: ObjectiveSpec) -> MultiLabelObjective:
        return MultiLabelObjective(self, spec)
