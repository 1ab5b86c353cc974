"""Scoring a network on a split."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.tasks.classification import ClassificationObjective
from darts.training.scoring import evaluate

CPU = torch.device("cpu")
TASK = ClassificationObjective(4)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 4))


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(sum(sizes), 3, 2, 2, generator=draw)
    labels = torch.randint(4, (sum(sizes),), generator=draw)
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_scores_are_those_of_evaluation_mode_and_the_net_is_as_before(training: bool) -> None:
    model = net().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = batches(5, 5, 1)  # a last batch of one, which batch norm refuses in training
    found = evaluate(model, given, TASK, device=CPU)
    assert model.training is training
    assert all(part.training is training for part in model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in given)
    assert found["accuracy"] == pytest.approx(right / 11)
    with torch.no_grad():
        whole = nn.functional.cross_entropy(
            model(torch.cat([x for x, _ in given])), torch.cat([y for _, y in given])
        )
    assert found["loss"] == pytest.approx(float(whole), rel=1e-5)


def test_the_mode_is_put_back_after_an_error() -> None:
    model = net()
    with pytest.raises(RuntimeError):
        evaluate(model, [(torch.zeros(2, 5), torch.zeros(2).long())], TASK, device=CPU)
    assert model.training


def test_another_forward_may_be_given() -> None:
    model = net()
    seen: list[bool] = []

    def forward(images: Tensor) -> Tensor:
        seen.append(model.training or torch.is_grad_enabled())
        return torch.eye(4)[[0, 1, 2]].float()

    given = [(torch.zeros(3, 3, 2, 2), torch.tensor([0, 1, 3]))]
    found = evaluate(model, given, TASK, device=CPU, forward=forward)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert seen == [False]


def test_forward_passes_run_in_the_precision_and_scores_do_not() -> None:
    model = net()
    dtypes: list[Any] = []
    model.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    task = ClassificationObjective(4)
    half = evaluate(model, batches(6), task, device=CPU, precision="bf16")
    full = evaluate(model, batches(6), task, device=CPU)
    assert dtypes == [torch.bfloat16, torch.float32]
    assert half["loss"] == pytest.approx(full["loss"], rel=0.05)
