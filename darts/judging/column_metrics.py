"""Metrics of numbers and of labels as functions of the results of single samples.

A sample has K numbers or labels. Its results are one row with a column, or a few, for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.data.targets import TargetScale
from darts.judging.resampling import Numbers, Value

Results = Callable[[Tensor, SampleBatch], Tensor]


def regression_parts(scale: TargetScale, name: str) -> tuple[Results, Value]:
    """Return the results of samples and the metric of ``darts.tasks.regression`` with this name."""
    count, deviation = len(scale.deviation), np.array(scale.deviation)

    def mean_squares(counts: Numbers, results: Numbers) -> Numbers:
        return np.asarray((counts @ results[:, :count]) / counts.sum(1, keepdims=True))

    def rmse(counts: Numbers, results: Numbers) -> Numbers:
        return np.asarray((np.sqrt(mean_squares(counts, results)) * deviation).mean(1))

    def mae(counts: Numbers, results: Numbers) -> Numbers:
        absolute = np.sqrt(results[:, :count])
        return np.asarray((mean_squares(counts, absolute) * deviation).mean(1))

    def loss(counts: Numbers, results: Numbers) -> Numbers:
        return np.asarray(mean_squares(counts, results).mean(1))

    def r2(counts: Numbers, results: Numbers) -> Numbers:
        samples = counts.sum(1, keepdims=True)
        errors, targets, squares = (
            counts @ results[:, part * count : (part + 1) * count] for part in range(3)
        )
        spread = squares - targets**2 / samples
        with np.errstate(divide="ignore", invalid="ignore"):  # all targets of a resample are equal
            return np.asarray((1 - errors / spread).mean(1))

    return _number_results, {"r2": r2, "rmse": rmse, "mae": mae, "loss": loss}[name]


def _number_results(outputs: Tensor, batch: SampleBatch) -> Tensor:
    """Return squared errors, numbers and squared numbers, ``(B, 3 * K)``, all standardized."""
    numbers = batch[1].cpu().double()
    errors = outputs.cpu().double() - numbers
    return torch.cat([errors.square(), numbers, numbers.square()], dim=1)


def multi_label_parts(labels: int, name: str) -> tuple[Results, Value]:
    """Return the results of samples and the metric of ``darts.tasks.multi_label``."""

    def counted(counts: Numbers, results: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return true positives, predicted labels and true labels, each ``(draws, K)``."""
        predicted, true = results[:, :labels] > 0.5, results[:, labels:] > 0.5
        parts = (predicted & true, predicted, true)
        hits, positive, present = (counts @ part.astype(np.float64) for part in parts)
        return hits, positive, present

    def macro_f1(counts: Numbers, results: Numbers) -> Numbers:
        hits, positive, present = counted(counts, results)
        total = positive + present
        return np.asarray((2 * hits / np.maximum(total, 1.0)).mean(1))

    def micro_f1(counts: Numbers, results: Numbers) -> Numbers:
        hits, positive, present = (part.sum(1) for part in counted(counts, results))
        return np.asarray(2 * hits / np.maximum(positive + present, 1.0))

    def exact_match(counts: Numbers, results: Numbers) -> Numbers:
        same = ((results[:, :labels] > 0.5) == (results[:, labels:] > 0.5)).all(1)
        return np.asarray(counts @ same.astype(np.float64) / counts.sum(1))

    def loss(counts: Numbers, results: Numbers) -> Numbers:
        return np.asarray(counts @ results[:, 0] / counts.sum(1))

    def mean_precision(counts: Numbers, results: Numbers) -> Numbers:
        columns = [
            average_precision(counts, results[:, k], results[:, labels + k]) for k in range(labels)
        ]
        known = np.stack(columns, axis=1)
        occurs = ~np.isnan(known)
        return np.asarray(np.where(occurs, known, 0.0).sum(1) / np.maximum(occurs.sum(1), 1))

    values: Mapping[str, Value] = {
        "average_precision": mean_precision,
        "macro_f1": macro_f1,
        "micro_f1": micro_f1,
        "exact_match": exact_match,
        "loss": loss,
    }
    return (_label_losses if name == "loss" else _label_results), values[name]


def average_precision(counts: Numbers, scores: Numbers, labels: Numbers) -> Numbers:
    """Return the average precision of one label in each resample, ``(draws,)``.

    It is the mean precision at the samples that have the label; not a number without any.

    Args:
        counts: ``(draws, units)``.
        scores: Probability of the label, ``(units,)``. Equal scores are one threshold.
        labels: 1 for units that have the label, else 0, ``(units,)``.
    """
    order = np.argsort(-scores, kind="stable")
    drawn, positive = counts[:, order], counts[:, order] * labels[order]
    last = np.append(np.nonzero(np.diff(scores[order]))[0], len(order) - 1)  # of each threshold
    ranked, found = drawn.cumsum(1)[:, last], positive.cumsum(1)[:, last]
    precision = found / np.maximum(ranked, 1.0)
    gained = np.diff(found, axis=1, prepend=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((precision * gained).sum(1) / found[:, -1])


def _label_results(outputs: Tensor, batch: SampleBatch) -> Tensor:
    """Return probabilities and labels, ``(B, 2 * K)``."""
    # As in the scores of a split, where float32 decides which samples have equal probabilities.
    probabilities = outputs.float().sigmoid().cpu().double()
    return torch.cat([probabilities, batch[1].cpu().double()], dim=1)


def _label_losses(outputs: Tensor, batch: SampleBatch) -> Tensor:
    """Return the mean cross entropy over the labels, ``(B, 1)``."""
    losses = F.binary_cross_entropy_with_logits(outputs.float(), batch[1], reduction="none")
    return losses.mean(1, keepdim=True).cpu().double()
