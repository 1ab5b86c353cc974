"""Regression: one or several numbers for each image or row.

Networks learn standardized numbers; scores in the units of the data are ``rmse`` and ``mae``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import SampleBatch
from darts.data.targets import NUMBERS, TargetScale
from darts.registry import choice
from darts.tasks.chance import ChanceLevel
from darts.tasks.metrics import Metric
from darts.tasks.own_loss import OWN, Loss
from darts.tasks.sample_objective import SampleObjective, SampleTask
from darts.tasks.task import TASKS, ObjectiveSpec

if TYPE_CHECKING:
    import torchmetrics


def _mean_error(class_name: str, **options: object) -> Callable[[int], torchmetrics.Metric]:
    """Return the function that builds a mean error of each number."""

    def make(numbers: int) -> torchmetrics.Metric:
        from torchmetrics import regression

        metric_class: type[torchmetrics.Metric] = getattr(regression, class_name)
        return metric_class(num_outputs=numbers, **options)

    return make


def _r2(numbers: int) -> torchmetrics.Metric:
    from torchmetrics.regression import R2Score

    return R2Score()


METRICS = {
    metric.name: metric
    for metric in (
        Metric("r2", True, _r2),
        Metric("rmse", False, _mean_error("MeanSquaredError", squared=False)),
        Metric("mae", False, _mean_error("MeanAbsoluteError")),
        Metric("loss", False, _mean_error("MeanSquaredError")),
    )
}
LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": F.mse_loss,
    "absolute": F.l1_loss,
    "huber": F.huber_loss,
}


class RegressionScores:
    """Accumulator of predicted numbers that computes all metrics of regression.

    Args:
        scale: How the numbers are standardized.
        device: Device of the batches.

    Attributes:
        metric_names: All metrics.
    """

    metric_names: Sequence[str] = tuple(METRICS)

    def __init__(self, scale: TargetScale, device: torch.device) -> None:
        count = len(scale.deviation)
        self._deviation = torch.tensor(scale.deviation, dtype=torch.float64)
        self._metrics = {
            name: METRICS[name].make(count).to(device) for name in ("r2", "loss", "mae")
        }
        self._dtype = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        for metric in self._metrics.values():
            metric.set_dtype(self._dtype)

    def update(self, outputs: Tensor, batch: SampleBatch) -> None:
        """Add outputs ``(B, K)`` and a batch with standardized numbers ``(B, K)``."""
        found, true = (values.to(self._dtype) for values in (outputs, batch[1]))
        for metric in self._metrics.values():
            metric.update(found, true)

    def compute(self) -> dict[str, float]:
        """Return the mean of each metric over the K numbers.

        ``rmse`` and ``mae`` are in the units of the data. ``loss`` is the mean squared error of
        standardized numbers. ``r2`` is not a number for fewer than two samples.
        """
        squared, absolute = (
            self._metrics[name].compute().reshape(-1).cpu().double() for name in ("loss", "mae")
        )
        try:  # on all ranks: the metric joins their samples before it counts them
            r2 = float(self._metrics["r2"].compute())
        except ValueError:
            r2 = math.nan
        return {
            "r2": r2,
            "rmse": float((squared.sqrt() * self._deviation).mean()),
            "mae": float((absolute * self._deviation).mean()),
            "loss": float(squared.mean()),
        }


class RegressionObjective(SampleObjective):
    """A loss of standardized numbers ``(B, K)``.

    Args:
        scale: How the numbers are standardized.
        loss: Function of outputs and numbers that returns the mean loss.
        auxiliary: Factor of the auxiliary head's loss, for networks that have one.
    """

    metrics = METRICS

    def __init__(self, scale: TargetScale, loss: Loss, *, auxiliary: float = 0.0) -> None:
        super().__init__(auxiliary=auxiliary)
        self.scale, self._loss = scale, loss
        self._deviation = torch.tensor(scale.deviation, dtype=torch.float32)

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(outputs, targets)

    def train_metrics(self, logits: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        """Return ``mae`` in the units of the data."""
        absolute = (logits.detach().float() - batch[1]).abs()
        if self._deviation.device != absolute.device:
            self._deviation = self._deviation.to(absolute.device)
        return {"mae": (absolute * self._deviation).mean()}

    def scores(self, device: torch.device) -> RegressionScores:
        return RegressionScores(self.scale, device)

    def chance_level(self, targets: Tensor) -> ChanceLevel:
        return ChanceLevel("r2", 0.0, True, "always predicting the mean")


@TASKS.register
@dataclass
class Regression(SampleTask):
    """The task of predicting one or several numbers.

    Attributes:
        loss: What the training minimizes, a mean over standardized numbers: the squared error, the
            absolute error, Huber's loss with a threshold of one standard deviation, or a function
            that was passed to ``darts.search`` or ``darts.retrain``. The score ``loss`` is always
            the squared error.
    """

    captures: ClassVar[bool] = True
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
        count = len(spec.target_names)
        scale = spec.scale or TargetScale((0.0,) * count, (1.0,) * count)
        loss = self.own_loss(spec) or LOSSES[self.loss]
        return RegressionObjective(scale, loss, auxiliary=spec.auxiliary)
