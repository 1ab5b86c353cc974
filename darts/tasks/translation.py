"""One sentence as another: translations, headlines.

A network for it is given ``sources (S, B)`` and ``inputs (T, B)``, the target's words behind their
beginning, and says logits ``(T, B, V)``; asked with ``max_length`` and ``beam``, it says words.

References:
    Post, "A Call for Clarity in Reporting BLEU Scores", arXiv:1804.08771.
    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL workshop 2004.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data.sentences import PairBatch
from darts.data.words import PADDING, Vocabulary
from darts.registry import number
from darts.tasks.metrics import Metric, mean_metric
from darts.tasks.task import TASKS, Forward, Objective, Task

ROUGE = ("rouge1", "rouge2", "rougeL")
SHOWN = 10  # sentences whose translations are shown


def _bleu(count: int = 0) -> Any:
    from torchmetrics.text import SacreBLEUScore

    return SacreBLEUScore()


def _rouge(count: int = 0) -> Any:
    from torchmetrics.text import ROUGEScore

    return ROUGEScore(rouge_keys=ROUGE)


LOSSES = {
    metric.name: metric
    for metric in (Metric("loss", False, mean_metric), Metric("perplexity", False, mean_metric))
}
TRANSLATION = {"bleu": Metric("bleu", True, _bleu), **LOSSES}
SUMMARIES = {**{name: Metric(name, True, _rouge) for name in ROUGE}, **LOSSES}


class TranslationOutput(NamedTuple):
    """What a network has said.

    Attributes:
        logits: of the given targets, ``(T, B, V)``.
        words: its own, ``(L, B)``.
    """

    logits: Tensor
    words: Tensor


class TextScores:
    """Compares what was said with what was written.

    Args:
        words: of the target.
        metrics: names of those to compute.
        device: where the batches are.

    Attributes:
        shown: the first sentences: what was written, and what was said.
    """

    def __init__(
        self, words: Vocabulary, metrics: Mapping[str, Metric], device: torch.device
    ) -> None:
        self._words = words
        self._losses = mean_metric().to(device)
        self._texts = {
            kind: make().to(device)
            for kind, make in (("bleu", _bleu), ("rouge", _rouge))
            if any(name.startswith(kind) for name in metrics)
        }
        self.metrics: Mapping[str, Any] = dict.fromkeys(metrics)
        self.shown: list[tuple[str, str]] = []

    def update(self, outputs: TranslationOutput, batch: PairBatch) -> None:
        """Add a batch."""
        self._losses.update(losses_of(outputs.logits.float(), batch.targets))
        said = [self._words.text(column) for column in outputs.words.t().tolist()]
        for metric in self._texts.values():
            metric.update(said, [[text] for text in batch.references])
        free = SHOWN - len(self.shown)
        self.shown += list(zip(batch.references, said, strict=True))[:free]

    def compute(self) -> dict[str, float]:
        """Scores by name: BLEU and ROUGE (F-measures) as fractions, the loss in nats a word."""
        loss = float(self._losses.compute())
        found = {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
        if "bleu" in self._texts:
            found["bleu"] = float(self._texts["bleu"].compute())
        if "rouge" in self._texts:
            values = self._texts["rouge"].compute()
            found |= {name: float(values[f"{name}_fmeasure"]) for name in ROUGE}
        return {name: found[name] for name in self.metrics}


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in nats of each word, ends included, one after the other."""
    flat = targets.flatten()
    losses = F.cross_entropy(logits.flatten(0, 1), flat, reduction="none", ignore_index=PADDING)
    return losses[flat != PADDING]


class PairObjective(Objective):
    """Cross entropy of the target's words, each after the true ones before it.

    Args:
        words: of the target.
        metrics: what is reported.
        label_smoothing: share of the target spread evenly over the vocabulary, in training of
            discrete networks.
        max_length: words that are said at most, the end included.
        beam: ways that are followed at once where a network is scored.
    """

    def __init__(
        self,
        words: Sequence[str],
        metrics: Mapping[str, Metric],
        *,
        label_smoothing: float,
        max_length: int,
        beam: int,
    ) -> None:
        self.metrics = metrics
        self._words = Vocabulary(words)
        self.label_smoothing, self.max_length, self.beam = label_smoothing, max_length, beam
        self._last: TextScores | None = None

    def supernet_loss(self, forward: Forward, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Mean cross entropy in nats a word, and logits."""
        logits = forward(batch.sources, inputs=batch.inputs)
        return self._loss(logits, batch, 0.0), logits.detach()

    def network_loss(self, net: Any, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """The same of a discrete network, with smoothed labels."""
        logits = net(batch.sources, inputs=batch.inputs)
        return self._loss(logits, batch, self.label_smoothing), logits.detach()

    @staticmethod
    def _loss(logits: Tensor, batch: PairBatch, smoothing: float) -> Tensor:
        return F.cross_entropy(
            logits.flatten(0, 1),
            batch.targets.flatten(),
            ignore_index=PADDING,
            label_smoothing=smoothing,
        )

    def predict(self, forward: Forward, batch: PairBatch) -> TranslationOutput:
        """Logits of the true words, and a network's own words."""
        logits = forward(batch.sources, inputs=batch.inputs)
        words = forward(batch.sources, max_length=self.max_length, beam=self.beam)
        return TranslationOutput(logits, words)

    def num_samples(self, batch: PairBatch) -> int:
        """Words of the targets, ends included."""
        return int((batch.targets != PADDING).sum())

    def train_metrics(self, outputs: Tensor, batch: PairBatch) -> dict[str, Tensor]:
        """Nothing beside the loss."""
        return {}

    def scores(self, device: torch.device) -> TextScores:
        """An empty collection of this task's scores."""
        self._last = TextScores(self._words, self.metrics, device)
        return self._last

    def sample_outputs(self) -> str:
        """The first sentences of the last scoring, in Markdown."""
        if self._last is None or not self._last.shown:
            return ""
        rows = [f"| {_cell(a)} | {_cell(b)} |" for a, b in self._last.shown]
        return "\n".join(["| written | said |", "| --- | --- |", *rows]) + "\n"


def _cell(text: str) -> str:
    """A text within a table."""
    return " ".join(text.replace("|", "\\|").split())


@dataclass
class PairTask(Task):
    """Sentences in, sentences out.

    Attributes:
        max_length: words that are said at most, the end included.
        beam: ways that are followed at once where a network is scored; 1 is greedy.
    """

    data_kinds: ClassVar[tuple[str, ...]] = ("pairs",)
    max_length: int = number(60, low=1, high=1000)
    beam: int = number(1, low=1, high=100)

    def objective(
        self, names: Sequence[str], *, label_smoothing: float = 0.0, auxiliary: float = 0.0
    ) -> PairObjective:
        """The task on pairs whose targets have these words.

        Raises:
            ValueError: for an auxiliary head, which its networks do not have.
        """
        if auxiliary:
            raise ValueError(
                f"auxiliary={auxiliary}: networks of task={self.name} have no auxiliary head; "
                "set auxiliary=0"
            )
        return PairObjective(
            names,
            self.metrics,
            label_smoothing=label_smoothing,
            max_length=self.max_length,
            beam=self.beam,
        )


@TASKS.register
@dataclass
class Translation(PairTask):
    """Judged by BLEU, as SacreBLEU computes it."""

    name: str = "translation"
    metrics: ClassVar[Mapping[str, Metric]] = TRANSLATION


@TASKS.register
@dataclass
class Summarization(PairTask):
    """Judged by ROUGE."""

    name: str = "summarization"
    metrics: ClassVar[Mapping[str, Metric]] = SUMMARIES
