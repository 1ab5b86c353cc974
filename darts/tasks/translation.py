"""Translation and summarization: a target sentence for each source sentence.

A network takes ``sources (S, B)`` and ``inputs (T, B)``, the target words shifted by one, and
returns logits ``(T, B, V)``. With ``max_length`` and ``beam`` instead of ``inputs``, it generates
words ``(L, B)``.

References:
    Post, "A Call for Clarity in Reporting BLEU Scores", arXiv:1804.08771.
    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL workshop 2004.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from darts.data import PairBatch
from darts.data.words import PADDING, WordEncoding
from darts.escaping import for_markdown
from darts.registry import number
from darts.spaces import NetworkBase
from darts.tasks.chance import ChanceLevel, guessed_tokens
from darts.tasks.metrics import (
    Metric,
    Numbers,
    Scores,
    by_name,
    perplexity,
    ratio,
    token_loss,
    token_losses,
    wide,
)
from darts.tasks.task import TASKS, BaseObjective, Forward, ObjectiveSpec, Task

ROUGE = ("rouge1", "rouge2", "rougeL")
# Maximum number of sentences that `sample_outputs` returns.
NUM_EXAMPLES = 10


class TranslationOutput(NamedTuple):
    """Logits of the true targets, ``(T, B, V)``, and generated words, ``(L, B)``."""

    logits: Tensor
    words: Tensor


def _loss_rows(objective: PairObjective, outputs: TranslationOutput, batch: PairBatch) -> Tensor:
    """Return the summed loss in nats and the number of words of each sentence."""
    losses = token_losses(outputs.logits.float(), batch.targets, PADDING)
    return torch.stack([wide(losses).sum(0), wide(batch.targets != PADDING).sum(0)], dim=1)


def _bleu_rows(objective: PairObjective, outputs: TranslationOutput, batch: PairBatch) -> Tensor:
    """Return the lengths of each sentence and its reference, and matching and generated n-grams."""
    from torchmetrics.text import SacreBLEUScore

    accumulator, rows = SacreBLEUScore(), []
    for generated, reference in zip(objective.texts(outputs), batch.references, strict=True):
        accumulator.reset()
        accumulator.update([generated], [[reference]])
        names = ("preds_len", "target_len", "numerator", "denominator")
        rows.append(torch.cat([getattr(accumulator, name).reshape(-1) for name in names]))
    return torch.stack(rows)


def _bleu(counts: Numbers, rows: Numbers) -> Numbers:
    """Return BLEU as a fraction, ``(draws,)``."""
    sums = counts @ rows
    generated, reference = sums[:, 0], sums[:, 1]
    matches, ngrams = np.split(sums[:, 2:], 2, axis=1)
    defined = matches.min(1) > 0
    precision = np.where(defined[:, None], matches, 1.0) / np.maximum(ngrams, 1.0)
    brevity = np.minimum(0.0, 1 - reference / np.maximum(generated, 1.0))
    return np.asarray(np.where(defined, np.exp(np.log(precision).mean(1) + brevity), 0.0))


def _rouge_rows(objective: PairObjective, outputs: TranslationOutput, batch: PairBatch) -> Tensor:
    """Return the F-measures of ``ROUGE`` of each sentence, and 1."""
    from torchmetrics.text import ROUGEScore

    accumulator = ROUGEScore(rouge_keys=ROUGE)
    accumulator.update(objective.texts(outputs), [[text] for text in batch.references])
    columns = [torch.stack(getattr(accumulator, f"{name}_fmeasure")) for name in ROUGE]
    return torch.stack([*columns, torch.ones_like(columns[0])], dim=1)


def _column_mean(counts: Numbers, rows: Numbers, column: int) -> Numbers:
    return ratio(counts, rows[:, [column, -1]])


LOSS_METRICS = by_name(
    Metric("loss", False, _loss_rows, ratio), Metric("perplexity", False, _loss_rows, perplexity)
)
TRANSLATION_METRICS = by_name(Metric("bleu", True, _bleu_rows, _bleu)) | LOSS_METRICS
SUMMARIZATION_METRICS = {
    name: Metric(name, True, _rouge_rows, partial(_column_mean, column=column))
    for column, name in enumerate(ROUGE)
} | LOSS_METRICS


class TextScores(Scores):
    """Accumulator that also keeps ``examples``, the first references and generated sentences."""

    def __init__(self, objective: PairObjective) -> None:
        super().__init__(objective)
        self._pairs = objective
        self.examples: list[tuple[str, str]] = []

    def update(self, outputs: TranslationOutput, batch: PairBatch) -> None:
        super().update(outputs, batch)
        if len(self.examples) < NUM_EXAMPLES:
            texts = self._pairs.texts(outputs)
            self.examples += list(zip(batch.references, texts, strict=True))
            del self.examples[NUM_EXAMPLES:]


class PairObjective(BaseObjective[PairBatch, TranslationOutput]):
    """Cross entropy of each target word, given the source and the true target words before it."""

    def __init__(self, task: PairTask, spec: ObjectiveSpec) -> None:
        super().__init__(task, spec)
        self._words = WordEncoding(spec.target_names, task.max_length, lowercase=False)
        self.max_length, self.beam = task.max_length, task.beam
        self._last_scores: TextScores | None = None

    def supernet_loss(self, forward: Forward, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Return the mean cross entropy in nats per word, and logits."""
        logits = forward(batch.sources, inputs=batch.inputs)
        return token_loss(logits, batch.targets, PADDING, 0.0), logits.detach()

    def network_loss(self, net: NetworkBase, batch: PairBatch) -> tuple[Tensor, Tensor]:
        logits = net(batch.sources, inputs=batch.inputs)
        return token_loss(logits, batch.targets, PADDING, self.label_smoothing), logits.detach()

    def predict(self, forward: Forward, batch: PairBatch) -> TranslationOutput:
        logits = forward(batch.sources, inputs=batch.inputs)
        words = forward(batch.sources, max_length=self.max_length, beam=self.beam)
        return TranslationOutput(logits, words)

    def num_samples(self, batch: PairBatch) -> int:
        return batch.num_targets

    def texts(self, outputs: TranslationOutput) -> list[str]:
        """Return the generated sentences."""
        return [self._words.decode(column) for column in outputs.words.t().tolist()]

    def scores(self) -> TextScores:
        self._last_scores = TextScores(self)
        return self._last_scores

    def chance_level(self, targets: Tensor) -> ChanceLevel:
        return guessed_tokens(targets)

    def sample_outputs(self) -> str:
        """Return the first sentences of the last evaluation as a Markdown table."""
        if self._last_scores is None or not self._last_scores.examples:
            return ""
        rows = [f"| {for_markdown(a)} | {for_markdown(b)} |" for a, b in self._last_scores.examples]
        return "\n".join(["| reference | generated |", "| --- | --- |", *rows]) + "\n"


@dataclass
class PairTask(Task):
    """The task of generating a target sentence for each source sentence.

    Attributes:
        max_length: Maximum number of words of a generated sentence, including the end token.
        beam: Number of hypotheses of the beam search; 1 for greedy decoding.
    """

    data_kinds: ClassVar[tuple[str, ...]] = ("pairs",)
    max_length: int = number(60, low=1, high=1000)
    beam: int = number(1, low=1, high=100)

    def make_objective(self, spec: ObjectiveSpec) -> PairObjective:
        self.reject_auxiliary(spec.auxiliary)
        return PairObjective(self, spec)


@TASKS.register
@dataclass
class Translation(PairTask):
    """Translation, measured by BLEU as SacreBLEU computes it."""

    name: str = "translation"
    metrics: ClassVar[Mapping[str, Metric]] = TRANSLATION_METRICS


@TASKS.register
@dataclass
class Summarization(PairTask):
    """Summarization, measured by ROUGE."""

    name: str = "summarization"
    metrics: ClassVar[Mapping[str, Metric]] = SUMMARIZATION_METRICS
