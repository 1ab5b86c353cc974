"""Metrics of resamples equal the scores of their repeated samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from darts.data import IGNORE_INDEX, PairBatch, Window
from darts.data.loader import Carry
from darts.data.words import END, PADDING, SPECIAL
from darts.tasks.task import TASKS, ObjectiveSpec
from darts.tasks.translation import TranslationOutput

CLASSES = ("turn left", "turn right", "stop", "go", "wait a bit", "up", "down")
WORDS = (*SPECIAL, *["a", "man", "rides", "the", "white", "horse", "over", "field", "and", "house"])

Select = Callable[[Tensor], tuple[Any, Any]]
"""Returns outputs and batch of the samples with given indices."""


def classification(rng: torch.Generator, count: int) -> Select:
    logits = torch.randn(count, len(CLASSES), generator=rng)
    labels = torch.randint(5, (count,), generator=rng)  # two classes are only predicted
    logits[torch.arange(count), labels] += 1
    return lambda chosen: (logits[chosen], (logits[chosen], labels[chosen]))


def language(rng: torch.Generator, count: int) -> Select:
    logits = torch.randn(count, len(WORDS), generator=rng)
    targets = torch.randint(len(WORDS), (count,), generator=rng)

    def select(chosen: Tensor) -> tuple[Tensor, Window]:
        tokens = torch.cat([targets[chosen], torch.tensor([IGNORE_INDEX])])[:, None]
        padded = torch.cat([logits[chosen], torch.zeros(1, len(WORDS))])[:, None]
        return padded, Window(tokens, tokens, Carry(), int((tokens != IGNORE_INDEX).sum()))

    return select


def pairs(rng: torch.Generator, count: int) -> Select:
    lengths = torch.randint(4, 9, (count,), generator=rng)
    targets = torch.randint(len(SPECIAL), len(WORDS), (9, count), generator=rng)
    wrong = torch.rand(9, count, generator=rng) < 0.15
    words = torch.where(wrong, torch.randint(4, len(WORDS), (9, count), generator=rng), targets)
    for column in range(count):
        for tokens, end in ((targets, lengths[column]), (words, lengths[column] - column % 2)):
            tokens[end, column], tokens[end + 1 :, column] = END, PADDING
    logits = torch.randn(9, count, len(WORDS), generator=rng)

    def select(chosen: Tensor) -> tuple[TranslationOutput, PairBatch]:
        kept = targets[:, chosen]
        references = tuple(
            " ".join(WORDS[token] for token in column if token > END)
            for column in kept.t().tolist()
        )
        return TranslationOutput(logits[:, chosen], words[:, chosen]), PairBatch(
            kept, kept, kept, references, int((kept != PADDING).sum())
        )

    return select


def numbers(rng: torch.Generator, count: int) -> Select:
    targets = torch.randn(count, 2, generator=rng)
    outputs = targets + 0.5 * torch.randn(count, 2, generator=rng)
    return lambda chosen: (outputs[chosen], (outputs[chosen], targets[chosen]))


def labels(rng: torch.Generator, count: int) -> Select:
    targets = (torch.rand(count, 3, generator=rng) < 0.4).float()
    logits = targets + torch.randn(count, 3, generator=rng)
    logits[:10] = logits[10:20]  # equal probabilities with different labels
    return lambda chosen: (logits[chosen], (logits[chosen], targets[chosen]))


TASK_DATA = {
    "regression": (numbers, ("price", "weight")),
    "multi_label": (labels, ("cat", "dog", "bird")),
    "classification": (classification, CLASSES),
    "text_classification": (classification, CLASSES),
    "speech": (classification, CLASSES),
    "language_model": (language, WORDS),
    "translation": (pairs, WORDS),
    "summarization": (pairs, WORDS),
}
CASES = [(task, metric) for task in TASK_DATA for metric in TASKS[task].metrics]


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_resample_has_the_score_of_its_repeated_samples(task: str, name: str) -> None:
    make, names = TASK_DATA[task]
    count = 60
    select = make(torch.Generator().manual_seed(0), count)
    objective = TASKS[task]().make_objective(ObjectiveSpec(tuple(names)))
    metric = objective.metrics[name]
    parts = torch.arange(count).split(25)
    rows = torch.cat([metric.rows(objective, *select(part)) for part in parts]).double().numpy()
    assert len(rows) == count
    rng = np.random.default_rng(0)
    counts = rng.multinomial(count, np.full(count, 1 / count), size=4).astype(float)
    counts[0] = 1
    actual = metric.value(counts, rows)
    for row, value in zip(counts, actual, strict=True):
        chosen = torch.arange(count).repeat_interleave(torch.tensor(row).long())
        scores = objective.scores()
        scores.update(*select(chosen))
        assert value == pytest.approx(scores.compute()[name], rel=1e-5)
    assert len(set(actual)) > 1


def test_bleu_is_zero_without_a_match_of_each_order() -> None:
    objective = TASKS["translation"]().make_objective(ObjectiveSpec(WORDS))
    targets = torch.tensor([[4], [5], [6], [END]])
    outputs = TranslationOutput(torch.zeros(4, 1, len(WORDS)), torch.tensor([[4], [5], [END]]))
    scores = objective.scores()
    scores.update(outputs, PairBatch(targets, targets, targets, ("a man rides",), 4))
    assert scores.compute()["bleu"] == 0
