"""Losses and scores of translation and summarization, compared with other implementations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from darts.data import PairBatch
from darts.data.words import PADDING, SPECIAL, WordEncoding
from darts.tasks.task import TASKS, ObjectiveSpec
from darts.tasks.translation import TranslationOutput

# Generated texts and their references.
TEXTS = (
    ("a man is riding a horse in the field", "a man rides a horse in a field"),
    ("two dogs play in the snow", "two dogs play in the white snow"),
    ("the boy", "a small boy is jumping over a fence near the house"),
    ("a woman in a red dress sings a song", "a woman in a red dress sings a song"),
)
WORDS = (*SPECIAL, *sorted({w for pair in TEXTS for t in pair for w in t.split()}))


def columns(texts: list[str]) -> Tensor:
    """Return the token ids of texts with end token and padding, ``(T, B)``."""
    return WordEncoding(WORDS, max_length=60, lowercase=False)(texts).t()


def pair_batch(targets: Tensor, references: list[str]) -> PairBatch:
    count = int((targets != PADDING).sum())
    return PairBatch(targets, targets, targets, tuple(references), count)


def scored(task: str) -> dict[str, float]:
    """Return the scores of ``TEXTS``, in two batches."""
    generated, references = ([pair[side] for pair in TEXTS] for side in (0, 1))
    objective = TASKS[task]().make_objective(ObjectiveSpec(WORDS))
    scores = objective.scores()
    for part in (slice(0, 3), slice(3, 4)):
        targets = columns(references[part])
        logits = torch.zeros(*targets.shape, len(WORDS))
        outputs = TranslationOutput(logits, columns(generated[part]))
        scores.update(outputs, pair_batch(targets, references[part]))
    return scores.compute()


def test_bleu_equals_that_of_sacrebleu() -> None:
    import sacrebleu

    generated, references = ([pair[side] for pair in TEXTS] for side in (0, 1))
    expected = sacrebleu.corpus_bleu(generated, [references]).score
    actual = scored("translation")
    assert 10 < expected < 90
    assert actual["bleu"] == pytest.approx(expected / 100, rel=1e-5)
    assert actual["loss"] == pytest.approx(math.log(len(WORDS)), rel=1e-5)
    assert actual["perplexity"] == pytest.approx(len(WORDS), rel=1e-4)


def test_rouge_equals_its_definition() -> None:
    def f_measure(common: int, generated: int, references: int) -> float:
        precision, recall = common / generated, common / references
        return 2 * precision * recall / (precision + recall) if common else 0.0

    def overlap(generated: list[str], references: list[str], size: int) -> float:
        a, b = (
            [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
            for words in (generated, references)
        )
        common = sum(min(a.count(gram), b.count(gram)) for gram in set(a))
        return f_measure(common, len(a), len(b))

    pairs = [(generated.split(), references.split()) for generated, references in TEXTS]
    actual = scored("summarization")
    for size, name in ((1, "rouge1"), (2, "rouge2")):
        expected = sum(overlap(*pair, size) for pair in pairs) / len(pairs)
        assert actual[name] == pytest.approx(expected, rel=1e-5)
    expected = sum(f_measure(_lcs(a, b), len(a), len(b)) for a, b in pairs) / len(pairs)
    assert actual["rougeL"] == pytest.approx(expected, rel=1e-5)


def _lcs(a: list[str], b: list[str]) -> int:
    """Return the length of the longest common subsequence."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            same = table[i][j] + 1
            table[i + 1][j + 1] = same if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_the_loss_ignores_padding() -> None:
    draw = torch.Generator().manual_seed(0)
    targets = columns([TEXTS[0][0], TEXTS[2][0]])
    logits = torch.randn(*targets.shape, len(WORDS), generator=draw, dtype=torch.float64)
    batch = pair_batch(targets, ["", ""])
    objective = TASKS["translation"]().make_objective(ObjectiveSpec(WORDS, label_smoothing=0.1))
    rows = [
        -logits[t, b].log_softmax(0)
        for b in range(2)
        for t in range(len(targets))
        if targets[t, b] != PADDING
    ]
    goals = [int(word) for column in targets.t() for word in column if word != PADDING]
    plain = sum(float(row[goal]) for row, goal in zip(rows, goals, strict=True)) / len(rows)
    loss, _ = objective.supernet_loss(lambda sources, inputs: logits, batch)
    assert float(loss) == pytest.approx(plain, rel=1e-10)
    assert objective.num_samples(batch) == len(rows) == 9 + 1 + 2 + 1
    smooth = sum(
        0.9 * float(r[g]) + 0.1 * float(r.mean()) for r, g in zip(rows, goals, strict=True)
    )
    loss, _ = objective.network_loss(lambda sources, inputs: logits, batch)
    assert float(loss) == pytest.approx(smooth / len(rows), rel=1e-10)


def test_sample_outputs_are_a_markdown_table() -> None:
    objective = TASKS["translation"]().make_objective(ObjectiveSpec(WORDS))
    assert objective.sample_outputs() == ""
    targets = columns(["a man"])
    scores = objective.scores()
    outputs = TranslationOutput(torch.zeros(*targets.shape, len(WORDS)), targets)
    scores.update(outputs, pair_batch(targets, ["a | <b>man</b>"]))
    assert objective.sample_outputs().splitlines()[-1] == "| a \\| \\<b\\>man\\</b\\> | a man |"
