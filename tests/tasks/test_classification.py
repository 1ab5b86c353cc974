"""Losses, scores and chance levels of classification."""

from __future__ import annotations

import math
import warnings
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch import Tensor

from darts.tasks.chance import CHANCE, guessed_class, guessed_tokens
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.tasks.task import TASKS, ObjectiveSpec

DRAW = torch.Generator().manual_seed(0)
LOGITS = torch.randn(6, 5, generator=DRAW, dtype=torch.float64) * 3
AUXILIARY = torch.randn(6, 5, generator=DRAW, dtype=torch.float64)
LABELS = torch.tensor([0, 4, 2, 2, 1, 3])


def objective_of(classes: int, **options: float) -> Any:
    spec = ObjectiveSpec(tuple(map(str, range(classes))), **options)
    return TASKS["classification"]().make_objective(spec)


def by_hand(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> float:
    """Return the mean cross entropy, computed value by value."""
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_total = math.log(sum(math.exp(value) for value in row))
        target = [smoothing / len(row)] * len(row)
        target[label] += 1 - smoothing
        losses.append(-sum(t * (value - log_total) for t, value in zip(target, row, strict=True)))
    return sum(losses) / len(losses)


class ConstantNetwork(torch.nn.Module):
    def __init__(self, auxiliary: torch.nn.Module | None) -> None:
        super().__init__()
        self.auxiliary = auxiliary

    def forward(self, images: Tensor, auxiliary: bool = False) -> Any:
        return (LOGITS, AUXILIARY) if auxiliary else LOGITS


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_loss_is_the_mean_cross_entropy_with_label_smoothing(smoothing: float) -> None:
    objective = objective_of(5, label_smoothing=smoothing)
    expected = pytest.approx(by_hand(LOGITS, LABELS, smoothing), rel=1e-12)
    assert float(objective.loss(LOGITS, LABELS)) == expected
    loss, logits = objective.supernet_loss(lambda images: LOGITS, (torch.zeros(6, 1), LABELS))
    assert float(loss) == expected
    assert logits is LOGITS


def weighted_objective(option: object, **options: Any) -> Any:
    spec = ObjectiveSpec(("a", "b", "c"), class_counts=(6, 3, 1), **options)
    return TASKS["classification"](class_weights=option).make_objective(spec)


def test_balanced_weights_give_each_class_the_same_share_of_the_loss() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    logits = torch.randn(10, 3, generator=DRAW)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = torch.stack([losses[labels == label].mean() for label in range(3)]).mean()
    assert float(weighted_objective("balanced").loss(logits, labels)) == pytest.approx(
        float(expected), rel=1e-6
    )
    weights = torch.tensor([1.0, 4.0, 1.0])[labels]
    expected = (losses * weights).mean() / weights.mean()
    found = weighted_objective({"b": 4}).loss(logits, labels)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    # The loss of a part of the samples does not depend on the others.
    low = torch.arange(10) < 2
    parts = [weighted_objective("balanced").loss(logits[own], labels[own]) for own in (low, ~low)]
    mean = (2 * parts[0] + 8 * parts[1]) / 10
    assert float(mean) == pytest.approx(float(weighted_objective("balanced").loss(logits, labels)))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("equal", "task.class_weights=equal: must be none, balanced or a mapping"),
        ({"d": 1}, "there is no class 'd'; the classes are a, b, c"),
        ({"a": 0}, r"task.class_weights.a=0: must be a positive number"),
        ({"a": math.inf}, r"task.class_weights.a=inf: must be a positive number"),
    ],
)
def test_wrong_class_weights_are_refused(option: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighted_objective(option)


def test_one_class_cannot_be_learned() -> None:
    with pytest.raises(ValueError, match="needs two or more classes, not"):
        TASKS["classification"]().make_objective(ObjectiveSpec(("a",)))


def test_the_chance_level_of_weighted_classes_is_hardly_exceeded_by_guesses() -> None:
    labels = torch.tensor([0] * 100 + [1] * 30 + [2] * 10)
    level = weighted_objective("balanced").chance_level(labels)
    guesses = torch.randint(3, (4000, len(labels)), generator=DRAW)
    shares = torch.stack([(guesses == k)[:, labels == k].float().mean(1) for k in range(3)])
    assert level.metric == "balanced_accuracy"
    lucky = float((shares.mean(0) > level.limit).float().mean())
    assert 0.002 < lucky < 0.03


def test_the_calibration_error_compares_probabilities_with_accuracies() -> None:
    logits, labels = sample(3, count=200)
    probability, predicted = logits.softmax(1).max(1)
    error = 0.0
    for low in range(15):
        inside = (probability > low / 15) & (probability <= (low + 1) / 15)
        if inside.any():
            right = (predicted == labels)[inside].double().mean()
            error += float(inside.sum() / 200 * (probability[inside].mean() - right).abs())
    metric = objective_of(3).metrics["calibration_error"]
    rows = metric.rows(objective_of(3), logits, (logits, labels)).numpy()
    assert metric.of(rows) == pytest.approx(error)


def test_each_member_of_an_ensemble_has_a_loss() -> None:
    outputs = torch.stack([LOGITS, 2 * LOGITS], dim=1)
    loss, logits = objective_of(5).supernet_loss(lambda images: outputs, (LOGITS, LABELS))
    expected = (by_hand(LOGITS, LABELS) + by_hand(2 * LOGITS, LABELS)) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-12)
    assert torch.equal(logits, 1.5 * LOGITS)


def test_the_auxiliary_loss_is_added_with_its_factor() -> None:
    objective = objective_of(5, label_smoothing=0.1, auxiliary=0.4)
    batch = (torch.zeros(6, 1), LABELS)
    loss, logits = objective.network_loss(ConstantNetwork(torch.nn.Identity()), batch)
    main, extra = by_hand(LOGITS, LABELS, 0.1), by_hand(AUXILIARY, LABELS, 0.1)
    assert float(loss) == pytest.approx(main + 0.4 * extra, rel=1e-12)
    assert logits is LOGITS
    loss, _ = objective.network_loss(ConstantNetwork(None), batch)
    assert float(loss) == pytest.approx(main, rel=1e-12)


def sample(classes: int, count: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits with a bias to the true class, and unbalanced labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = (torch.rand(count, generator=draw) ** 2 * classes).long()
    logits = torch.randn(count, classes, generator=draw)
    logits[torch.arange(count), labels] += 1
    return logits, labels


def scored(logits: Tensor, labels: Tensor, *sizes: int) -> dict[str, float]:
    """Return the scores, computed in batches of the given sizes or in one batch."""
    scores = objective_of(logits.shape[1]).scores()
    parts = sizes or (len(labels),)
    for piece, truth in zip(logits.split(parts), labels.split(parts), strict=True):
        scores.update(piece, (piece, truth))
    return scores.compute()


@pytest.mark.parametrize("classes", [2, 3, 5, 6, 10, 100])
def test_scores_equal_those_of_scikit_learn(classes: int) -> None:
    logits, labels = sample(classes)
    actual = scored(logits, labels)
    predicted, truth = logits.argmax(1).numpy(), labels.numpy()
    every = list(range(classes))
    assert actual["accuracy"] == pytest.approx(sklearn.accuracy_score(truth, predicted))
    assert actual["macro_f1"] == pytest.approx(sklearn.f1_score(truth, predicted, average="macro"))
    assert actual["micro_f1"] == pytest.approx(sklearn.f1_score(truth, predicted, average="micro"))
    probabilities = logits.double().softmax(1).numpy()
    with warnings.catch_warnings(action="ignore"):  # predicted classes that are absent
        expected = sklearn.balanced_accuracy_score(truth, predicted)
    assert actual["balanced_accuracy"] == pytest.approx(expected)
    areas = [
        sklearn.roc_auc_score(truth == label, probabilities[:, label])
        for label in every
        if 0 < sum(truth == label) < len(truth)
    ]
    assert actual["auroc"] == pytest.approx(np.mean(areas), abs=1e-6)
    loss = sklearn.log_loss(truth, probabilities, labels=every)
    assert actual["loss"] == pytest.approx(loss, rel=1e-5)
    if classes > 5:
        expected = sklearn.top_k_accuracy_score(truth, logits.numpy(), k=5, labels=every)
        assert actual["top5_accuracy"] == pytest.approx(expected)
    else:  # always 1 for up to five classes
        assert "top5_accuracy" not in actual
    assert set(actual) <= set(CLASSIFICATION_METRICS)
    assert all(type(value) is float for value in actual.values())


@pytest.mark.parametrize("classes", [2, 10, 200, 201])
def test_the_confusion_matrix_equals_that_of_scikit_learn(classes: int) -> None:
    """There is none of many classes."""
    logits, labels = sample(classes, count=500)
    objective = objective_of(classes)
    assert objective.confusion_matrix() is None
    scores = objective.scores()
    for piece, truth in zip(logits.split(150), labels.split(150), strict=True):
        scores.update(piece, (piece, truth))
    scores.compute()
    expected = sklearn.confusion_matrix(labels, logits.argmax(1), labels=list(range(classes)))
    found = objective.confusion_matrix()
    assert (found is None) == (classes == 201)
    assert found is None or found.tolist() == expected.tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_network_has_a_nan_loss(value: float) -> None:
    logits, labels = sample(10)
    logits[150:] = value
    actual = scored(logits, labels, 50, 50, 50, 50)
    assert math.isnan(actual["loss"])


def test_the_better_score_is_preferred_and_the_later_of_equal_ones_but_never_nan() -> None:
    accuracy, loss = CLASSIFICATION_METRICS["accuracy"], CLASSIFICATION_METRICS["loss"]
    assert accuracy.prefers(0.6, 0.5)
    assert not accuracy.prefers(0.5, 0.6)
    assert loss.prefers(0.5, 0.6)
    assert not loss.prefers(0.6, 0.5)
    for metric in CLASSIFICATION_METRICS.values():
        assert metric.prefers(0.5, 0.5)
        assert metric.prefers(0.0, None)
        assert not metric.prefers(float("nan"), 0.0)
        assert not metric.prefers(float("nan"), None)


def test_the_word_error_rate_counts_words_of_class_names() -> None:
    objective = TASKS["speech"]().make_objective(ObjectiveSpec(("turn left", "turn right", "stop")))
    scores = objective.scores()
    logits = torch.eye(3)[[1, 2, 2]] * 9
    scores.update(logits, (logits, torch.tensor([0, 2, 1])))
    actual = scores.compute()
    # One of two words of "turn left" is wrong, and two of "turn right", of five words in all.
    assert actual["word_error_rate"] == pytest.approx(3 / 5)
    assert actual["accuracy"] == pytest.approx(1 / 3)
    assert set(actual) <= set(objective.metrics)


@pytest.mark.parametrize("counts", [(1, 1), (3, 2, 1), (7, 3)])
def test_the_limit_equals_that_of_all_outcomes(counts: tuple[int, ...]) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    trials, share = len(labels), max(counts) / sum(counts)
    weights = {1: share, 0: 1 - share}

    def tail(k: int) -> float:
        outcomes = product((0, 1), repeat=trials)
        return math.fsum(math.prod(weights[x] for x in one) for one in outcomes if sum(one) >= k)

    limit = round(guessed_class(labels).limit * trials)
    assert tail(limit) > CHANCE
    assert limit == trials or tail(limit + 1) <= CHANCE


def test_an_accuracy_must_beat_a_lucky_guess_of_the_most_frequent_class() -> None:
    chance = guessed_class(torch.arange(1000) % 10)
    assert chance.metric == "accuracy"
    assert 0.1 < chance.limit < 0.13
    assert all(map(chance.explains, (0.0, 0.1, chance.limit, math.nan)))
    assert not chance.explains(chance.limit + 0.001)
    unbalanced = guessed_class(torch.tensor([0] * 900 + [1] * 100))
    assert unbalanced.explains(0.91)
    assert not unbalanced.explains(0.95)
    assert guessed_class(torch.zeros(5, dtype=torch.int64)).explains(1.0)  # only one class


def test_a_loss_must_be_below_the_entropy_of_the_tokens() -> None:
    chance = guessed_tokens(torch.tensor([7, 7, 3, 3]))
    assert chance.metric == "loss"
    assert chance.limit == pytest.approx(math.log(2))
    assert chance.explains(chance.limit)
    assert chance.explains(math.inf)
    assert not chance.explains(0.69)
