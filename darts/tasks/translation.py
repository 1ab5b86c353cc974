"""Translation and summarization: a target sentence for each source sentence.

A network takes ``sources (S, B)`` and ``inputs (T, B)``, the target words shifted by one, and
returns logits ``(T, B, V)``. With ``max_length`` and ``beam`` instead of ``inputs``, it generates
words ``(L, B)``.

References:
    Post, "A Call for Clarity in Reporting BLEU Scores", arXiv:1804.08771.
    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL workshop 2004.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from darts.data import PairBatch
from darts.data.words import PADDING, Vocabulary
from darts.escaping import for_markdown
from darts.registry import number
from darts.spaces import NetworkBase
from darts.tasks.chance import ChanceLevel, guessed_tokens
from darts.tasks.metrics import Metric, mean_metric, perplexity, token_loss, token_losses
from darts.tasks.task import TASKS, BaseObjective, Forward, ObjectiveSpec, Task

if TYPE_CHECKING:
    import torchmetrics

ROUGE = ("rouge1", "rouge2", "rougeL")
NUM_EXAMPLES = 10
"""Maximum number of sentences that ``sample_outputs`` returns."""


def _bleu(classes: int = 0) -> torchmetrics.Metric:
    from torchmetrics.text import SacreBLEUScore

    return SacreBLEUScore()


def _rouge(classes: int = 0) -> torchmetrics.Metric:
    from torchmetrics.text import ROUGEScore

    return ROUGEScore(rouge_keys=ROUGE)


LOSS_METRICS = {name: Metric(name, False, mean_metric) for name in ("loss", "perplexity")}
TRANSLATION_METRICS = {"bleu": Metric("bleu", True, _bleu), **LOSS_METRICS}
SUMMARIZATION_METRICS = {**{name: Metric(name, True, _rouge) for name in ROUGE}, **LOSS_METRICS}


class TranslationOutput(NamedTuple):
    """Logits of the true targets, ``(T, B, V)``, and generated words, ``(L, B)``."""

    logits: Tensor
    words: Tensor


class TextScores:
    """Accumulator of generated sentences and their references.

    Attributes:
        examples: The first references, each with the generated sentence.
    """

    def __init__(
        self, vocabulary: Vocabulary, metrics: Mapping[str, Metric], device: torch.device
    ) -> None:
        self._vocabulary = vocabulary
        self._mean_loss = mean_metric().to(device)
        self._bleu = _bleu().to(device) if "bleu" in metrics else None
        self._rouge = _rouge().to(device) if ROUGE[0] in metrics else None
        self.metric_names: Sequence[str] = tuple(metrics)
        self.examples: list[tuple[str, str]] = []

    def update(self, outputs: TranslationOutput, batch: PairBatch) -> None:
        self._mean_loss.update(token_losses(outputs.logits.float(), batch.targets, PADDING))
        generated = [self._vocabulary.decode(column) for column in outputs.words.t().tolist()]
        for metric in (self._bleu, self._rouge):
            if metric is not None:
                metric.update(generated, [[text] for text in batch.references])
        missing = NUM_EXAMPLES - len(self.examples)
        self.examples += list(zip(batch.references, generated, strict=True))[:missing]

    def compute(self) -> dict[str, float]:
        """Return BLEU and ROUGE (F-measures) as fractions, and the loss in nats per word."""
        loss = float(self._mean_loss.compute())
        values = {"loss": loss, "perplexity": perplexity(loss)}
        if self._bleu is not None:
            values["bleu"] = float(self._bleu.compute())
        if self._rouge is not None:
            rouge = self._rouge.compute()
            values |= {name: float(rouge[f"{name}_fmeasure"]) for name in ROUGE}
        return {name: values[name] for name in self.metric_names}


class PairObjective(BaseObjective[PairBatch, TranslationOutput]):
    """Cross entropy of each target word, given the source and the true target words before it.

    Args:
        words: Words of the target vocabulary, by index.
        metrics: Metrics to report, by name.
        label_smoothing: Share of the target that is spread evenly over the vocabulary, in the
            training of discrete networks.
        max_length: Maximum number of words of a generated sentence, including the end token.
        beam: Number of hypotheses of the beam search; 1 for greedy decoding.
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
        self._vocabulary = Vocabulary(words)
        self.label_smoothing, self.max_length, self.beam = label_smoothing, max_length, beam
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

    def scores(self, device: torch.device) -> TextScores:
        self._last_scores = TextScores(self._vocabulary, self.metrics, device)
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
        return PairObjective(
            spec.target_names,
            self.metrics,
            label_smoothing=spec.label_smoothing,
            max_length=self.max_length,
            beam=self.beam,
        )


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
