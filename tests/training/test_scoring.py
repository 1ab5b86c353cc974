"""Scores of a network are computed in evaluation mode and equal an explicit computation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.tasks.task import TASKS, ObjectiveSpec
from darts.training.scoring import evaluate, memorizes

CPU = torch.device("cpu")
OBJECTIVE = TASKS["classification"]().make_objective(ObjectiveSpec(tuple("abcd")))


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 4))


def make_batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(sum(sizes), 3, 2, 2, generator=draw)
    labels = torch.randint(4, (sum(sizes),), generator=draw)
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_scores_use_evaluation_mode_and_do_not_change_the_network(training: bool) -> None:
    model = make_net().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = make_batches(5, 5, 1)  # batch norm refuses the last batch in training mode
    scores = evaluate(model, batches, OBJECTIVE, device=CPU)
    assert model.training is training
    assert all(layer.training is training for layer in model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    assert scores["accuracy"] == pytest.approx(correct / 11)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(
            model(torch.cat([x for x, _ in batches])), torch.cat([y for _, y in batches])
        )
    assert scores["loss"] == pytest.approx(float(loss), rel=1e-5)


def test_a_custom_forward_function_runs_without_gradients_in_evaluation_mode() -> None:
    model = make_net()
    modes: list[bool] = []

    def forward(images: Tensor) -> Tensor:
        modes.append(model.training or torch.is_grad_enabled())
        return torch.eye(4)[[0, 1, 2]].float()

    batches = [(torch.zeros(3, 3, 2, 2), torch.tensor([0, 1, 3]))]
    scores = evaluate(model, batches, OBJECTIVE, device=CPU, forward=forward)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert modes == [False]


def test_forward_passes_use_the_precision_and_losses_use_float32() -> None:
    model = make_net()
    dtypes: list[Any] = []
    model.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    half = evaluate(model, make_batches(6), OBJECTIVE, device=CPU, precision="bf16")
    full = evaluate(model, make_batches(6), OBJECTIVE, device=CPU)
    assert dtypes == [torch.bfloat16, torch.float32]
    assert half["loss"] == pytest.approx(full["loss"], rel=0.05)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"train_accuracy": 0.9, "valid_accuracy": 0.9, "train_loss": 1, "valid_loss": 2}, False),
        ({"train_accuracy": 0.91, "valid_accuracy": 0.9, "train_loss": 2, "valid_loss": 1}, True),
        ({"train_loss": 1.0, "valid_loss": 1.0, "valid_accuracy": 0.5}, False),
        ({"train_loss": 0.9, "valid_loss": 1.0}, True),
    ],
)
def test_a_network_memorizes_if_it_is_better_on_training_samples(
    row: dict[str, float], expected: bool
) -> None:
    assert memorizes(row) == expected
