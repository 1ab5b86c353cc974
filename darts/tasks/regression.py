"""Regression: one or several numbers for each image or row.

Networks learn standardized numbers; scores in the units of the data are ``rmse`` and ``mae``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.data.targets import NUMBERS, TargetScale
from darts.ops.transfer import constant_on
from darts.registry import choice
from darts.tasks.chance import ChanceLevel
from darts.tasks.metrics import Metric, Numbers, by_name, wide
from darts.tasks.sample_objective import OWN, Loss, SampleObjective, SampleTask
from darts.tasks.task import TASKS, ObjectiveSpec


def _rows(objective: RegressionObjective, outputs: Tensor, batch: SampleBatch) -> Tensor:
    """Return squared errors, numbers and squared numbers, all standardized, ``(B, 3 * K)``."""
    numbers = wide(batch[1])
    errors = wide(outputs) - numbers
    return torch.cat([errors.square(), numbers, numbers.square()], dim=1)


def _errors(objective: RegressionObjective, outputs: Tensor, batch: SampleBatch) -> Tensor:
    """Return absolute errors in the units of the data, ``(B, K)``."""
    errors = wide(outputs) - wide(batch[1])
    return errors.abs() * errors.new_tensor(objective.scale.deviation)


def _means(counts: Numbers, rows: Numbers) -> Numbers:
    return np.asarray(counts @ rows / counts.sum(1, keepdims=True))


def _rmse(counts: Numbers, errors: Numbers) -> Numbers:
    return np.asarray(np.sqrt(_means(counts, errors**2)).mean(1))


def _mae(counts: Numbers, errors: Numbers) -> Numbers:
    return np.asarray(_means(counts, errors).mean(1))


def _loss(counts: Numbers, rows: Numbers) -> Numbers:
    return np.asarray(_means(counts, np.split(rows, 3, axis=1)[0]).mean(1))


def _r2(counts: Numbers, rows: Numbers) -> Numbers:
    """Return the mean R2 of the numbers; NaN for fewer than two samples."""
    errors, numbers, squares = np.split(_means(counts, rows), 3, axis=1)
    spread = squares - numbers**2
    shares = np.divide(errors, spread, out=np.ones_like(errors), where=spread > 0)
    return np.where(counts.sum(1) > 1, 1 - shares.mean(1), np.nan)


# `rmse` and `mae` are in the units of the data, `loss` is of standardized numbers. All are
# means over the K numbers.
METRICS = by_name(
    Metric("r2", True, _rows, _r2),
    Metric("rmse", False, _errors, _rmse),
    Metric("mae", False, _errors, _mae),
    Metric("loss", False, _rows, _loss),
)

LOSSES: Mapping[str, Loss] = {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss}


class RegressionObjective(SampleObjective):
    """A loss of standardized numbers ``(B, K)``."""

    def __init__(self, task: Regression, spec: ObjectiveSpec) -> None:
        super().__init__(task, spec)
        count = len(spec.target_names)
        self.scale = spec.scale or TargetScale((0.0,) * count, (1.0,) * count)
        self._loss_name = task.loss
        self._deviation = torch.tensor(self.scale.deviation, dtype=torch.float32)

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return LOSSES[self._loss_name](outputs, targets)

    def train_metrics(self, logits: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        """Return ``mae`` in the units of the data."""
        absolute = (logits.detach().float() - batch[1]).abs()
        return {"mae": (absolute * constant_on(self._deviation, absolute.device)).mean()}

    def chance_level(self, targets: Tensor) -> ChanceLevel:
        return ChanceLevel("r2", 0.0, True, "always predicting the mean")


@TASKS.register
@dataclass
class Regression(SampleTask):
    """The task of predicting one or several numbers.

    The losses are means over standardized numbers; the threshold of Huber's loss is one standard
    deviation. The score ``loss`` is always the squared error.
    """

    name: str = "regression"
    loss: str = choice("squared", *LOSSES, OWN)
    data_kinds: ClassVar[tuple[str, ...]] = ("images", "rows")
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    targets: ClassVar[str] = NUMBERS

    def make_objective(self, spec: ObjectiveSpec) -> RegressionObjective:
        if spec.label_smoothing:
            raise ValueError(
                f"label_smoothing={spec.label_smoothing}: belongs to tasks with classes or labels; "
                "set label_smoothing=0"
            )
        return RegressionObjective(self, spec)
