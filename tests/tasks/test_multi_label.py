"""The task of deciding which labels a sample has, against independent formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, log_loss
from torch import Tensor

from darts.tasks.task import TASKS, ObjectiveSpec

NAMES = ("cat", "dog", "bird")


def predicted(count: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = (torch.rand(count, 3, generator=rng) < torch.tensor([0.5, 0.3, 0.2])).float()
    return 2 * labels - 1 + torch.randn(count, 3, generator=rng), labels


def test_scores_are_those_of_each_label() -> None:
    logits, labels = predicted(80)
    objective = TASKS["multi_label"]().make_objective(ObjectiveSpec(NAMES))
    scores = objective.scores()
    for part in torch.arange(80).split(33):
        scores.update(logits[part], (logits[part], labels[part]))
    found, true = scores.compute(), labels.numpy().astype(int)
    probabilities = logits.double().sigmoid().numpy()
    chosen = (probabilities > 0.5).astype(int)
    expected = {
        "average_precision": average_precision_score(true, probabilities, average="macro"),
        "macro_f1": f1_score(true, chosen, average="macro"),
        "micro_f1": f1_score(true, chosen, average="micro"),
        "exact_match": accuracy_score(true, chosen),
        "loss": np.mean([log_loss(true[:, k], probabilities[:, k]) for k in range(3)]),
    }
    assert found == pytest.approx(expected, rel=1e-5)
    assert tuple(found) == tuple(objective.metrics)


def test_the_average_precision_ignores_labels_that_never_occur() -> None:
    logits, labels = predicted(80)
    labels[:, 2] = 0
    scores = TASKS["multi_label"]().make_objective(ObjectiveSpec(NAMES)).scores()
    scores.update(logits, (logits, labels))
    true, probabilities = labels[:, :2].numpy(), logits[:, :2].double().sigmoid().numpy()
    expected = average_precision_score(true, probabilities, average="macro")
    assert scores.compute()["average_precision"] == pytest.approx(expected, rel=1e-5)


def test_smoothed_labels_move_towards_one_half() -> None:
    logits, labels = predicted(20)
    objective = TASKS["multi_label"]().make_objective(ObjectiveSpec(NAMES, label_smoothing=0.2))
    loss, _ = objective.supernet_loss(lambda x: x, (logits, labels))
    target = torch.where(labels > 0, 0.9, 0.1)
    p = logits.sigmoid()
    torch.testing.assert_close(loss, -(target * p.log() + (1 - target) * (1 - p).log()).mean())


def test_training_metrics_count_samples_with_all_labels() -> None:
    logits = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    objective = TASKS["multi_label"]().make_objective(ObjectiveSpec(NAMES[:2]))
    assert float(objective.train_metrics(logits, (logits, labels))["exact_match"]) == 0.5


def test_equal_and_random_probabilities_are_explained_by_chance() -> None:
    objective, lucky = TASKS["multi_label"]().make_objective(ObjectiveSpec(NAMES)), 0
    for seed in range(40):
        rng = torch.Generator().manual_seed(seed)
        labels = (torch.rand(60, 3, generator=rng) < 0.3).float()
        chance = objective.chance_level(labels)
        assert not chance.explains(0.8)
        for logits in (torch.full((60, 3), 0.3), torch.randn(60, 3, generator=rng)):
            scores = objective.scores()
            scores.update(logits, (logits, labels))
            lucky += not chance.explains(scores.compute()["average_precision"])
    assert lucky <= 3  # one of a hundred random orders has more luck


def test_data_without_labels_has_no_chance_level() -> None:
    assert (
        TASKS["multi_label"]().make_objective(ObjectiveSpec(NAMES)).chance_level(torch.zeros(5, 3))
        is None
    )
