"""The next token of a text, from all before it.

A network for it is given ``tokens (T, B)`` and ``hidden``, its state before them or None, and says
a ``Said``: logits of the next tokens and its state behind them.

References:
    Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models",
    arXiv:1708.02182, section 4.6: activation regularization.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data.windows import IGNORE_INDEX, Window
from darts.registry import number
from darts.tasks.metrics import Metric, mean_metric
from darts.tasks.task import TASKS, Forward, Objective, Task

METRICS = {
    metric.name: metric
    for metric in (
        Metric("perplexity", False, mean_metric),
        Metric("bits", False, mean_metric),
        Metric("loss", False, mean_metric),
    )
}
"""``bits`` are those of a token: with ``dataset.level=char``, bits a character."""


class Said(Protocol):
    """What a recurrent network says of a window.

    Attributes:
        logits: ``(T, B, V)``.
        hidden: the state behind the window, ``(B, H)``.
        raw: outputs of the cell, ``(T, B, H)``.
        dropped: the same behind dropout.
    """

    logits: Tensor
    hidden: Tensor
    raw: Tensor
    dropped: Tensor


class LanguageScores:
    """Cross entropy of all targets, in the units that people know.

    Args:
        device: where the batches are.
    """

    def __init__(self, device: torch.device) -> None:
        self._mean = mean_metric().to(device)
        self.metrics: Mapping[str, Any] = dict.fromkeys(METRICS, self._mean)

    def update(self, outputs: Tensor, batch: Window) -> None:
        """Add a window: logits ``(T, B, V)``."""
        self._mean.update(losses_of(outputs.float(), batch.targets))

    def compute(self) -> dict[str, float]:
        """Perplexity, bits a token and nats a token."""
        loss = float(self._mean.compute())
        return {
            "perplexity": math.exp(min(loss, 700.0)),  # of no use beyond, and no error
            "bits": loss / math.log(2),
            "loss": loss,
        }


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in nats of each target that there is, one after the other."""
    flat = targets.flatten()
    losses = F.cross_entropy(
        logits.flatten(0, 1), flat, reduction="none", ignore_index=IGNORE_INDEX
    )
    return losses[flat != IGNORE_INDEX]


class LanguageObjective(Objective):
    """Cross entropy of the next token; a batch is a ``Window``, outputs are logits.

    Args:
        label_smoothing: share of the target spread evenly over the vocabulary, in training of
            discrete networks.
        activation: weight of the mean square of the outputs behind dropout.
        temporal: weight of the mean square of the outputs' change from token to token.
    """

    metrics = METRICS

    def __init__(
        self, *, label_smoothing: float = 0.0, activation: float = 0.0, temporal: float = 0.0
    ) -> None:
        self.label_smoothing, self.activation, self.temporal = label_smoothing, activation, temporal

    def supernet_loss(self, forward: Forward, batch: Window) -> tuple[Tensor, Tensor]:
        """Mean cross entropy in nats with what regularizes activations, and logits."""
        said: Said = forward(batch.tokens, hidden=batch.carry.state)
        batch.carry.after = said.hidden.detach()
        return self._loss(said, batch, 0.0), said.logits.detach()

    def network_loss(self, net: Any, batch: Window) -> tuple[Tensor, Tensor]:
        """The same of a discrete network, with smoothed labels."""
        said: Said = net(batch.tokens, hidden=batch.carry.state)
        batch.carry.after = said.hidden.detach()
        return self._loss(said, batch, self.label_smoothing), said.logits.detach()

    def _loss(self, said: Said, batch: Window, smoothing: float) -> Tensor:
        loss = F.cross_entropy(
            said.logits.flatten(0, 1),
            batch.targets.flatten(),
            ignore_index=IGNORE_INDEX,
            label_smoothing=smoothing,
        )
        if self.activation:
            loss = loss + self.activation * said.dropped.square().mean()
        if self.temporal and len(said.raw) > 1:
            loss = loss + self.temporal * (said.raw[1:] - said.raw[:-1]).square().mean()
        return loss

    def predict(self, forward: Forward, batch: Window) -> Tensor:
        """Logits ``(T, B, V)``."""
        said: Said = forward(batch.tokens, hidden=batch.carry.state)
        batch.carry.after = said.hidden.detach()
        return said.logits

    def num_samples(self, batch: Window) -> int:
        """Targets that there are."""
        return int((batch.targets != IGNORE_INDEX).sum())

    def train_metrics(self, outputs: Tensor, batch: Window) -> dict[str, Tensor]:
        """Nothing beside the loss."""
        return {}

    def scores(self, device: torch.device) -> LanguageScores:
        """An empty collection of this task's scores."""
        return LanguageScores(device)


@TASKS.register
@dataclass
class LanguageModel(Task):
    """Text in, at each place the token that follows.

    Attributes:
        window: tokens through which gradients go back.
        activation: weight of the mean square of the outputs behind dropout.
        temporal: weight of the mean square of the outputs' change from token to token.
    """

    name: str = "language_model"
    data_kinds: ClassVar[tuple[str, ...]] = ("text",)
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    window: int = number(35, low=1)
    activation: float = number(0.0, low=0)
    temporal: float = number(1e-3, low=0)

    def objective(
        self, names: Sequence[str], *, label_smoothing: float = 0.0, auxiliary: float = 0.0
    ) -> LanguageObjective:
        """The task on a text.

        Raises:
            ValueError: for an auxiliary head, which its networks do not have.
        """
        if auxiliary:
            raise ValueError(
                f"auxiliary={auxiliary}: networks of task={self.name} have no auxiliary head; "
                "set auxiliary=0"
            )
        return LanguageObjective(
            label_smoothing=label_smoothing, activation=self.activation, temporal=self.temporal
        )
