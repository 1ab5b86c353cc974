"""The task of predicting numbers, against independent formulas."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import Tensor

from darts.data.targets import TargetScale
from darts.tasks.sample_objective import passed_loss
from darts.tasks.task import TASKS, ObjectiveSpec

NAMES = ("price", "weight")
SCALE = TargetScale((100.0, -2.0), (20.0, 0.5))


def predicted(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    numbers = torch.randn(count, 2, generator=rng)
    return numbers + 0.5 * torch.randn(count, 2, generator=rng), numbers


def test_scores_are_those_of_numbers_in_their_own_units() -> None:
    outputs, numbers = predicted(50)
    objective = TASKS["regression"]().make_objective(ObjectiveSpec(NAMES, scale=SCALE))
    scores = objective.scores()
    for part in torch.arange(50).split(13):
        scores.update(outputs[part], (outputs[part], numbers[part]))
    found = scores.compute()
    own, true = SCALE.restore(outputs.double()).numpy(), SCALE.restore(numbers.double()).numpy()
    assert found["r2"] == pytest.approx(r2_score(true, own))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, own))
    assert found["mae"] == pytest.approx(mean_absolute_error(true, own))
    assert found["loss"] == pytest.approx(float((outputs - numbers).square().mean()))
    assert tuple(found) == tuple(objective.metrics)


def test_one_sample_has_no_r2() -> None:
    outputs, numbers = predicted(1)
    scores = TASKS["regression"]().make_objective(ObjectiveSpec(NAMES, scale=SCALE)).scores()
    scores.update(outputs, (outputs, numbers))
    found = scores.compute()
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
    objective = TASKS["regression"]().make_objective(ObjectiveSpec(NAMES, scale=SCALE))
    value = objective.train_metrics(outputs, (outputs, numbers))["mae"]
    own, true = SCALE.restore(outputs.double()).numpy(), SCALE.restore(numbers.double()).numpy()
    assert float(value) == pytest.approx(mean_absolute_error(true, own), rel=1e-5)


def test_the_mean_is_at_chance_level() -> None:
    _, numbers = predicted(30)
    objective = TASKS["regression"]().make_objective(ObjectiveSpec(NAMES, scale=SCALE))
    chance = objective.chance_level(numbers)
    scores = objective.scores()
    scores.update(numbers.mean(0).expand(30, 2), (numbers, numbers))
    assert chance.explains(scores.compute()["r2"] - 1e-9)
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
