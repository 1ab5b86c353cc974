"""The tasks of predicting numbers and labels, and metrics of resamples of all tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

from darts.data import IGNORE_INDEX, PairBatch, Window
from darts.data.loader import Carry
from darts.data.targets import TargetScale
from darts.data.words import END, PADDING, SPECIAL
from darts.tasks.sample_objective import passed_loss
from darts.tasks.task import TASKS, ObjectiveSpec
from darts.tasks.translation import TranslationOutput

NAMES = ("price", "weight")
SCALE = TargetScale((100.0, -2.0), (20.0, 0.5))
REGRESSION = TASKS["regression"]().make_objective(ObjectiveSpec(NAMES, scale=SCALE))


def predicted(count: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randn(count, 2, generator=rng)
    return numbers + 0.5 * torch.randn(count, 2, generator=rng), numbers


def scores_of(objective: Any, outputs: Any, batch: Any) -> Any:
    scores = objective.scores()
    scores.update(outputs, batch)
    return scores.compute()


def test_scores_are_those_of_numbers_in_their_own_units() -> None:
    outputs, numbers = predicted(50)
    scores = REGRESSION.scores()
    for part in torch.arange(50).split(13):
        scores.update(outputs[part], (outputs[part], numbers[part]))
    found = scores.compute()
    own, true = SCALE.restore(outputs.double()).numpy(), SCALE.restore(numbers.double()).numpy()
    assert found["r2"] == pytest.approx(metrics.r2_score(true, own))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(true, own))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(true, own))
    assert found["loss"] == pytest.approx(float((outputs - numbers).square().mean()))
    assert tuple(found) == tuple(REGRESSION.metrics)


def test_one_sample_has_no_r2() -> None:
    outputs, numbers = predicted(1)
    found = scores_of(REGRESSION, outputs, (outputs, numbers))
    assert found["r2"] != found["r2"]
    assert found["mae"] > 0


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("squared", lambda error: error**2),
        ("absolute", lambda error: error.abs()),
        ("huber", lambda e: torch.where(e.abs() < 1, e**2 / 2, e.abs() - 0.5)),
    ],
)
def test_losses_are_means_over_standardized_numbers(loss: str, expected: object) -> None:
    outputs, numbers = predicted(40)
    outputs[0] += 5  # beyond the threshold of Huber's loss
    objective = TASKS["regression"](loss=loss).make_objective(ObjectiveSpec(NAMES, scale=SCALE))
    value, returned = objective.supernet_loss(lambda x: x, (outputs, numbers))
    assert torch.equal(returned, outputs)
    torch.testing.assert_close(value, expected(outputs - numbers).mean())  # type: ignore[operator]


def test_training_metrics_are_in_the_units_of_the_data() -> None:
    outputs, numbers = predicted(30)
    value = REGRESSION.train_metrics(outputs, (outputs, numbers))["mae"]
    own, true = SCALE.restore(outputs.double()).numpy(), SCALE.restore(numbers.double()).numpy()
    assert float(value) == pytest.approx(metrics.mean_absolute_error(true, own), rel=1e-5)


def test_the_mean_is_at_chance_level() -> None:
    _, numbers = predicted(30)
    chance = REGRESSION.chance_level(numbers)
    found = scores_of(REGRESSION, numbers.mean(0).expand(30, 2), (numbers, numbers))
    assert chance.explains(found["r2"] - 1e-9)
    assert not chance.explains(0.2)


def test_labels_cannot_be_smoothed() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing=0\.1: belongs to tasks with classes"):
        TASKS["regression"]().make_objective(ObjectiveSpec(NAMES, scale=SCALE, label_smoothing=0.1))


def test_a_loss_of_the_users_own_sees_standardized_numbers() -> None:
    outputs, numbers = predicted(10)
    task = TASKS["regression"](loss="own")
    objective = task.make_objective(ObjectiveSpec(NAMES, scale=SCALE))
    with passed_loss(lambda found, true: (found - true).abs().max()):
        value, _ = objective.supernet_loss(lambda x: x, (outputs, numbers))
    assert value == (outputs - numbers).abs().max()
    with pytest.raises(ValueError, match="pass the function"):
        task.check_training()


LABELS = ("cat", "dog", "bird")
MULTI_LABEL = TASKS["multi_label"]().make_objective(ObjectiveSpec(LABELS))


def labeled(count: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = (torch.rand(count, 3, generator=rng) < torch.tensor([0.5, 0.3, 0.2])).float()
    return 2 * labels - 1 + torch.randn(count, 3, generator=rng), labels


def test_scores_are_those_of_each_label() -> None:
    logits, labels = labeled(80)
    scores = MULTI_LABEL.scores()
    for part in torch.arange(80).split(33):
        scores.update(logits[part], (logits[part], labels[part]))
    found, true = scores.compute(), labels.numpy().astype(int)
    probabilities = logits.double().sigmoid().numpy()
    chosen = (probabilities > 0.5).astype(int)
    expected = {
        "average_precision": metrics.average_precision_score(true, probabilities, average="macro"),
        "macro_f1": metrics.f1_score(true, chosen, average="macro"),
        "micro_f1": metrics.f1_score(true, chosen, average="micro"),
        "exact_match": metrics.accuracy_score(true, chosen),
        "loss": np.mean([metrics.log_loss(true[:, k], probabilities[:, k]) for k in range(3)]),
    }
    assert found == pytest.approx(expected, rel=1e-5)
    assert tuple(found) == tuple(MULTI_LABEL.metrics)


def test_the_average_precision_ignores_labels_that_never_occur() -> None:
    logits, labels = labeled(80)
    labels[:, 2] = 0
    found = scores_of(MULTI_LABEL, logits, (logits, labels))
    true, probabilities = labels[:, :2].numpy(), logits[:, :2].double().sigmoid().numpy()
    expected = metrics.average_precision_score(true, probabilities, average="macro")
    assert found["average_precision"] == pytest.approx(expected, rel=1e-5)


def test_smoothed_labels_move_towards_one_half() -> None:
    logits, labels = labeled(20)
    objective = TASKS["multi_label"]().make_objective(ObjectiveSpec(LABELS, label_smoothing=0.2))
    loss, _ = objective.supernet_loss(lambda x: x, (logits, labels))
    target = torch.where(labels > 0, 0.9, 0.1)
    p = logits.sigmoid()
    torch.testing.assert_close(loss, -(target * p.log() + (1 - target) * (1 - p).log()).mean())


def test_training_metrics_count_samples_with_all_labels() -> None:
    logits = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    objective = TASKS["multi_label"]().make_objective(ObjectiveSpec(LABELS[:2]))
    assert float(objective.train_metrics(logits, (logits, labels))["exact_match"]) == 0.5


def test_equal_and_random_probabilities_are_explained_by_chance() -> None:
    lucky = 0
    for seed in range(40):
        rng = torch.Generator().manual_seed(seed)
        labels = (torch.rand(60, 3, generator=rng) < 0.3).float()
        chance = MULTI_LABEL.chance_level(labels)
        assert not chance.explains(0.8)
        for logits in (torch.full((60, 3), 0.3), torch.randn(60, 3, generator=rng)):
            found = scores_of(MULTI_LABEL, logits, (logits, labels))
            lucky += not chance.explains(found["average_precision"])
    assert lucky <= 3  # one of a hundred random orders has more luck


def test_data_without_labels_has_no_chance_level() -> None:
    assert MULTI_LABEL.chance_level(torch.zeros(5, 3)) is None


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
        assert value == pytest.approx(scores_of(objective, *select(chosen))[name], rel=1e-5)
    assert len(set(actual)) > 1


def test_bleu_is_zero_without_a_match_of_each_order() -> None:
    objective = TASKS["translation"]().make_objective(ObjectiveSpec(WORDS))
    targets = torch.tensor([[4], [5], [6], [END]])
    outputs = TranslationOutput(torch.zeros(4, 1, len(WORDS)), torch.tensor([[4], [5], [END]]))
    batch = PairBatch(targets, targets, targets, ("a man rides",), 4)
    assert scores_of(objective, outputs, batch)["bleu"] == 0
