"""Metrics as functions of the results of single samples, so that samples can be resampled.

``darts.tasks`` computes the metrics of a whole split. Here each sample has a row of numbers, such
as its label and the predicted class, and a metric is computed from any selection of rows, for many
selections at once. On the whole split both are equal up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from darts.data import IGNORE_INDEX, PairBatch, SampleBatch, Window
from darts.data.words import PADDING, Vocabulary
from darts.judging.column_metrics import multi_label_parts, regression_parts
from darts.judging.resampling import Numbers, Value, merge_consecutive
from darts.tasks import Objective
from darts.tasks.classification import ClassificationObjective
from darts.tasks.language_model import LanguageObjective
from darts.tasks.metrics import token_losses
from darts.tasks.multi_label import MultiLabelObjective
from darts.tasks.regression import RegressionObjective
from darts.tasks.speech import SpeechObjective
from darts.tasks.translation import ROUGE, PairObjective, TranslationOutput

if TYPE_CHECKING:
    import torchmetrics

TEXT_BLOCKS = 50
"""Blocks of consecutive tokens that are the units of a text. The tokens of a text depend on each
other over long distances, so units must be long: on the Penn Treebank, windows of 35 tokens give
intervals that are less than half as wide."""

Results = Callable[[Any, Any], Tensor]
"""Returns the results of the samples of a batch, ``(samples, k)``, from outputs and the batch."""


@dataclass(frozen=True)
class SampleMetric:
    """A metric that is computed from the results of single samples.

    Attributes:
        results: Returns the results of the samples of a batch.
        value: Computes the metric of resamples.
        text: Whether the samples are the tokens of a text, which are resampled in blocks.
    """

    results: Results
    value: Value
    text: bool = False

    def units(self, results: Numbers) -> Numbers:
        """Return the results of the units that are resampled, ``(units, k)``."""
        return merge_consecutive(results, TEXT_BLOCKS) if self.text else results


def sample_metric(
    objective: Objective, name: str, target_names: tuple[str, ...], device: torch.device
) -> SampleMetric:
    """Return a metric of an objective.

    The metrics of tasks that are not part of the package are approximated: their samples are
    batches, and the metric of a resample is the mean over its batches.

    Args:
        objective: The objective that computes the metric of a whole split.
        name: Name of the metric.
        target_names: Names of the targets: classes, words or tokens.
        device: Device of the batches.
    """
    metrics = _METRICS.get(type(objective), {})
    if name in metrics:
        return metrics[name](objective, name, target_names)
    return SampleMetric(partial(_batch_score, objective, name, device), ratio)


# Values of resamples.


def ratio(counts: Numbers, results: Numbers) -> Numbers:
    """Return the sum of the first column over the sum of the second one, ``(draws,)``."""
    sums = counts @ results
    return np.asarray(sums[:, 0] / sums[:, 1])


def exp_ratio(counts: Numbers, results: Numbers) -> Numbers:
    """Return the perplexity for losses and numbers of tokens, limited as in ``darts.tasks``."""
    return np.exp(np.minimum(ratio(counts, results), 700.0))


def bits_ratio(counts: Numbers, results: Numbers) -> Numbers:
    """Return bits per token for losses in nats and numbers of tokens."""
    return ratio(counts, results) / math.log(2)


def macro_f1(counts: Numbers, results: Numbers) -> Numbers:
    """Return the mean F1 of the classes that are present or predicted, ``(draws,)``.

    Args:
        counts: ``(draws, units)``.
        results: True and predicted class, ``(units, 2)``.
    """
    from scipy.sparse import csr_matrix

    true, predicted = results.astype(np.int64).T
    units, classes = np.arange(len(results)), int(results.max()) + 1

    def per_class(labels: NDArray[np.int64], units: NDArray[np.int64]) -> Numbers:
        """Return how often the units of each class are drawn, ``(classes, draws)``."""
        shape = classes, len(results)
        return np.asarray(csr_matrix((np.ones(len(units)), (labels, units)), shape) @ counts.T)

    correct = units[true == predicted]
    hits = per_class(true[correct], correct)
    total = per_class(np.append(true, predicted), np.append(units, units))
    f1 = 2 * hits / np.maximum(total, 1.0)
    return np.asarray(f1.sum(0) / (total > 0).sum(0))


def bleu(counts: Numbers, results: Numbers) -> Numbers:
    """Return BLEU as a fraction, ``(draws,)``.

    Args:
        counts: ``(draws, units)``.
        results: Generated length, reference length, matching n-grams and generated n-grams of
            each order of a sentence, ``(units, 2 + 2 * orders)``.
    """
    sums = counts @ results
    generated, reference = sums[:, 0], sums[:, 1]
    matches, ngrams = np.split(sums[:, 2:], 2, axis=1)
    defined = matches.min(1) > 0
    precision = np.where(defined[:, None], matches, 1.0) / np.maximum(ngrams, 1.0)
    brevity = np.minimum(0.0, 1 - reference / np.maximum(generated, 1.0))
    return np.asarray(np.where(defined, np.exp(np.log(precision).mean(1) + brevity), 0.0))


# Results of single samples.


def _classes(logits: Tensor, batch: SampleBatch) -> Tensor:
    return torch.stack([batch[1], logits.argmax(1)], dim=1)


def _correct(logits: Tensor, batch: SampleBatch, top: int = 1) -> Tensor:
    hits = logits.topk(top, dim=1).indices if top > 1 else logits.argmax(1, keepdim=True)
    return _counted((hits == batch[1][:, None]).any(1))


def _losses(logits: Tensor, batch: SampleBatch) -> Tensor:
    return _counted(F.cross_entropy(logits.float(), batch[1], reduction="none"))


def _window_losses(logits: Tensor, batch: Window) -> Tensor:
    return _counted(token_losses(logits.float(), batch.targets, IGNORE_INDEX))


def _sentence_losses(outputs: TranslationOutput, batch: PairBatch) -> Tensor:
    losses = F.cross_entropy(
        outputs.logits.float().flatten(0, 1),
        batch.targets.flatten(),
        reduction="none",
        ignore_index=PADDING,
    )
    columns = (
        losses.view_as(batch.targets).cpu().double(),
        (batch.targets != PADDING).cpu().double(),
    )
    return torch.stack([column.sum(0) for column in columns], dim=1)


def _counted(values: Tensor) -> Tensor:
    """Return values ``(n,)`` and a column of ones, ``(n, 2)``."""
    numbers = values.cpu().double()
    return torch.stack([numbers, torch.ones_like(numbers)], dim=1)


def _batch_score(
    objective: Objective, name: str, device: torch.device, outputs: object, batch: object
) -> Tensor:
    scores, samples = objective.scores(device), objective.num_samples(batch)
    scores.update(outputs, batch)
    return torch.tensor([[scores.compute()[name] * samples, samples]], dtype=torch.float64)


def _state(accumulator: torchmetrics.Metric, *names: str) -> Tensor:
    """Return a copy of the sums that torchmetrics accumulated, one after the other, ``(k,)``."""
    return torch.cat([getattr(accumulator, name).reshape(-1) for name in names])


def _word_errors(objective: Objective, name: str, class_names: tuple[str, ...]) -> SampleMetric:
    """Results are the wrong words and the words of the true class name."""
    accumulator, known = objective.metrics[name].make(0), dict[tuple[int, int], Tensor]()

    def results(logits: Tensor, batch: SampleBatch) -> Tensor:
        pairs = list(zip(batch[1].tolist(), logits.argmax(1).tolist(), strict=True))
        for true, predicted in set(pairs) - known.keys():
            accumulator.reset()
            accumulator.update([class_names[predicted]], [class_names[true]])
            known[true, predicted] = _state(accumulator, "errors", "total")
        return torch.stack([known[pair] for pair in pairs])

    return SampleMetric(results, ratio)


def _bleu(objective: Objective, name: str, words: tuple[str, ...]) -> SampleMetric:
    accumulator, vocabulary = objective.metrics[name].make(0), Vocabulary(words)

    def sentence(generated: str, reference: str) -> Tensor:
        accumulator.reset()
        accumulator.update([generated], [[reference]])
        return _state(accumulator, "preds_len", "target_len", "numerator", "denominator")

    def results(outputs: TranslationOutput, batch: PairBatch) -> Tensor:
        texts = (vocabulary.decode(column) for column in outputs.words.t().tolist())
        return torch.stack(list(map(sentence, texts, batch.references)))

    return SampleMetric(results, bleu)


def _rouge(objective: Objective, name: str, words: tuple[str, ...]) -> SampleMetric:
    accumulator, vocabulary = objective.metrics[name].make(0), Vocabulary(words)

    def results(outputs: TranslationOutput, batch: PairBatch) -> Tensor:
        accumulator.reset()
        texts = [vocabulary.decode(column) for column in outputs.words.t().tolist()]
        accumulator.update(texts, [[reference] for reference in batch.references])
        return _counted(torch.stack(getattr(accumulator, f"{name}_fmeasure")))

    return SampleMetric(results, ratio)


_Make = Callable[[Objective, str, tuple[str, ...]], SampleMetric]
"""Makes a metric from the objective, the name of the metric, and the names of the targets."""


def _fixed(results: Results, value: Value, text: bool = False) -> _Make:
    """Return the function that makes a metric without options."""
    return lambda objective, name, target_names: SampleMetric(results, value, text)


def _regression(objective: Objective, name: str, target_names: tuple[str, ...]) -> SampleMetric:
    assert isinstance(objective, RegressionObjective)
    return SampleMetric(*regression_parts(objective.scale, name))


def _multi_label(objective: Objective, name: str, target_names: tuple[str, ...]) -> SampleMetric:
    return SampleMetric(*multi_label_parts(len(target_names), name))


_CLASSIFICATION: Mapping[str, _Make] = {
    "accuracy": _fixed(_correct, ratio),
    "top5_accuracy": _fixed(partial(_correct, top=5), ratio),
    "macro_f1": _fixed(_classes, macro_f1),
    "micro_f1": _fixed(_correct, ratio),  # equal to the accuracy for one class per sample
    "loss": _fixed(_losses, ratio),
}
_METRICS: Mapping[type, Mapping[str, _Make]] = {
    ClassificationObjective: _CLASSIFICATION,
    SpeechObjective: {**_CLASSIFICATION, "word_error_rate": _word_errors},
    RegressionObjective: dict.fromkeys(RegressionObjective.metrics, _regression),
    MultiLabelObjective: dict.fromkeys(MultiLabelObjective.metrics, _multi_label),
    LanguageObjective: {
        "perplexity": _fixed(_window_losses, exp_ratio, text=True),
        "bits": _fixed(_window_losses, bits_ratio, text=True),
        "loss": _fixed(_window_losses, ratio, text=True),
    },
    PairObjective: {
        "bleu": _bleu,
        **dict.fromkeys(ROUGE, _rouge),
        "perplexity": _fixed(_sentence_losses, exp_ratio),
        "loss": _fixed(_sentence_losses, ratio),
    },
}
