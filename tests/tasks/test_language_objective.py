"""Losses and scores of language models, translation and summarization."""

from __future__ import annotations

import math
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data import IGNORE_INDEX, PairBatch, Window
from darts.data.loader import Carry
from darts.data.words import PADDING, SPECIAL, WordEncoding
from darts.spaces.network import LanguageModelOutput
from darts.tasks.task import TASKS, ObjectiveSpec
from darts.tasks.translation import TranslationOutput

PLAIN = TASKS["language_model"](temporal=0.0).make_objective(ObjectiveSpec(tuple("abcdefg")))

DRAW = torch.Generator().manual_seed(0)
OUTPUT = LanguageModelOutput(
    torch.randn(4, 3, 7, generator=DRAW, dtype=torch.float64),
    torch.randn(3, 5, generator=DRAW, dtype=torch.float64, requires_grad=True),
    torch.randn(4, 3, 5, generator=DRAW, dtype=torch.float64),
    torch.randn(4, 3, 5, generator=DRAW, dtype=torch.float64),
)
TARGETS = torch.randint(7, (4, 3), generator=DRAW)
TARGETS[3, 1:] = IGNORE_INDEX


def window(state: Tensor | None = None) -> Window:
    count = int((TARGETS != IGNORE_INDEX).sum())
    return Window(torch.zeros(4, 3, dtype=torch.int64), TARGETS, Carry(state), count)


def mean_loss(smoothing: float = 0.0) -> float:
    """Return the mean cross entropy of the targets, in nats."""
    keep = TARGETS != IGNORE_INDEX
    pairs = (OUTPUT.logits[keep], TARGETS[keep])
    return float(F.cross_entropy(*pairs, label_smoothing=smoothing))


def test_the_loss_is_the_mean_over_all_targets_which_are_smoothed_for_networks_only() -> None:
    batch = window()
    spec = ObjectiveSpec(tuple("abcdefg"), label_smoothing=0.1)
    smoothed = TASKS["language_model"](temporal=0.0).make_objective(spec)
    for objective in (PLAIN, smoothed):
        loss, logits = objective.supernet_loss(lambda tokens, hidden: OUTPUT, batch)
        assert float(loss) == pytest.approx(mean_loss(), rel=1e-12)
        assert torch.equal(logits, OUTPUT.logits)
        assert objective.num_samples(batch) == 10
    loss, _ = smoothed.network_loss(lambda tokens, hidden: OUTPUT, batch)
    assert float(loss) == pytest.approx(mean_loss(smoothing=0.1), rel=1e-9)


def test_activation_regularization_equals_its_definition() -> None:
    plain, _ = PLAIN.supernet_loss(lambda tokens, hidden: OUTPUT, window())
    objective = TASKS["language_model"](activation=2.0, temporal=3.0).make_objective(
        ObjectiveSpec(tuple("abcdefg"))
    )
    loss, _ = objective.supernet_loss(lambda tokens, hidden: OUTPUT, window())
    changes = OUTPUT.raw[1:] - OUTPUT.raw[:-1]
    expected = 2 * OUTPUT.dropped.square().mean() + 3 * changes.square().mean()
    assert float(loss - plain) == pytest.approx(float(expected), rel=1e-12)
    # The alphas minimize the plain likelihood, as in the authors' code.
    assert objective.alpha_loss(lambda tokens, hidden: OUTPUT, window()) == plain


def test_the_state_is_passed_on_without_its_gradient() -> None:
    forward, state = Mock(return_value=OUTPUT), torch.ones(3, 5)
    for method in ("supernet_loss", "predict"):
        batch = window(state)
        getattr(PLAIN, method)(forward, batch)
        assert forward.call_args.kwargs["hidden"] is state
        assert not batch.carry.after.requires_grad
        assert torch.equal(batch.carry.after, OUTPUT.hidden)


def test_scores_of_windows_equal_those_of_the_whole_text() -> None:
    scores = PLAIN.scores()
    for row in range(4):  # windows of one token; the last has one target
        one = slice(row, row + 1)
        scores.update(OUTPUT.logits[one], window()._replace(targets=TARGETS[one]))
    mean, actual = mean_loss(), scores.compute()
    assert actual["loss"] == pytest.approx(mean, rel=1e-6)
    assert actual["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    assert actual["bits"] == pytest.approx(mean / math.log(2), rel=1e-6)
    assert not any(TASKS["language_model"].metrics[name].higher_is_better for name in actual)


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
    kept = targets != PADDING
    pairs = (logits[kept], targets[kept])
    assert objective.num_samples(batch) == len(pairs[0]) == 9 + 1 + 2 + 1
    loss, _ = objective.supernet_loss(lambda sources, inputs: logits, batch)
    torch.testing.assert_close(loss, F.cross_entropy(*pairs))
    loss, _ = objective.network_loss(lambda sources, inputs: logits, batch)
    torch.testing.assert_close(loss, F.cross_entropy(*pairs, label_smoothing=0.1))


def test_sample_outputs_are_a_markdown_table() -> None:
    objective = TASKS["translation"]().make_objective(ObjectiveSpec(WORDS))
    assert objective.sample_outputs() == ""
    targets = columns(["a man"])
    scores = objective.scores()
    outputs = TranslationOutput(torch.zeros(*targets.shape, len(WORDS)), targets)
    scores.update(outputs, pair_batch(targets, ["a | <b>man</b>"]))
    assert objective.sample_outputs().splitlines()[-1] == "| a \\| \\<b\\>man\\</b\\> | a man |"
