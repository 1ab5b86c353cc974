"""Language modeling: the next token of a text.

A network takes ``tokens (T, B)`` and ``hidden (B, H)``, its state before the first of these tokens
(None at the start of a text), and returns a ``LanguageModelOutput``.

References:
    Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models",
    arXiv:1708.02182, section 4.6: activation regularization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from darts.data import IGNORE_INDEX, Window
from darts.registry import number
from darts.spaces import NetworkBase
from darts.spaces.network import LanguageModelOutput
from darts.tasks.chance import ChanceLevel, guessed_tokens
from darts.tasks.metrics import Metric, bits, counted, perplexity, ratio, token_loss, token_losses
from darts.tasks.task import TASKS, BaseObjective, Forward, ObjectiveSpec, Task


def _token_rows(objective: LanguageObjective, logits: Tensor, batch: Window) -> Tensor:
    losses = token_losses(logits.float(), batch.targets, IGNORE_INDEX)
    return counted(losses[batch.targets != IGNORE_INDEX])


# `bits` are per token, that is per character with `dataset.level=char`.
METRICS = {
    name: Metric(name, False, _token_rows, value, text=True)
    for name, value in (("perplexity", perplexity), ("bits", bits), ("loss", ratio))
}


class LanguageObjective(BaseObjective[Window, Tensor]):
    """Cross entropy of the next token, with the activation regularization of ``LanguageModel``."""

    def __init__(self, task: LanguageModel, spec: ObjectiveSpec) -> None:
        super().__init__(task, spec)
        self.activation, self.temporal = task.activation, task.temporal

    def supernet_loss(self, forward: Forward, batch: Window) -> tuple[Tensor, Tensor]:
        """Return the mean loss in nats per token, with activation regularization, and logits."""
        output = self._forward(forward, batch)
        return self._loss(output, batch), output.logits.detach()

    def alpha_loss(self, forward: Forward, batch: Window) -> Tensor:
        """Return the mean loss in nats per token, without activation regularization.

        The authors of DARTS regularize the weights only (rnn/model_search.py of quark0/darts).
        """
        logits = self._forward(forward, batch).logits
        return token_loss(logits, batch.targets, IGNORE_INDEX, label_smoothing=0.0)

    def network_loss(self, net: NetworkBase, batch: Window) -> tuple[Tensor, Tensor]:
        output = self._forward(net, batch)
        return self._loss(output, batch, self.label_smoothing), output.logits.detach()

    @staticmethod
    def _forward(forward: Forward, batch: Window) -> LanguageModelOutput:
        """Run the network on a window and store its state for the next window."""
        output: LanguageModelOutput = forward(batch.tokens, hidden=batch.carry.state)
        batch.carry.after = output.hidden.detach()
        return output

    def _loss(self, output: LanguageModelOutput, batch: Window, smoothing: float = 0.0) -> Tensor:
        loss = token_loss(output.logits, batch.targets, IGNORE_INDEX, smoothing)
        if self.activation:
            loss = loss + self.activation * output.dropped.square().mean()
        if self.temporal and len(output.raw) > 1:
            loss = loss + self.temporal * (output.raw[1:] - output.raw[:-1]).square().mean()
        return loss

    def predict(self, forward: Forward, batch: Window) -> Tensor:
        return self._forward(forward, batch).logits

    def num_samples(self, batch: Window) -> int:
        return batch.num_targets

    def chance_level(self, targets: Tensor) -> ChanceLevel:
        return guessed_tokens(targets)


@TASKS.register
@dataclass
class LanguageModel(Task):
    """The task of predicting the next token of a text.

    Attributes:
        window: Number of successive tokens through which gradients flow back.
        activation: Coefficient of the mean square of the network's features after dropout.
        temporal: Coefficient of the mean square of the change of the features, before dropout,
            between successive tokens.
    """

    name: str = "language_model"
    data_kinds: ClassVar[tuple[str, ...]] = ("text",)
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    window: int = number(35, low=1)
    activation: float = number(0.0, low=0)
    temporal: float = number(1e-3, low=0)

    def make_objective(self, spec: ObjectiveSpec) -> LanguageObjective:
        self.reject_auxiliary(spec.auxiliary)
        return LanguageObjective(self, spec)
