"""Losses of classification, compared with plain Python."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from darts.tasks.task import TASKS, ObjectiveSpec

DRAW = torch.Generator().manual_seed(0)
LOGITS = torch.randn(6, 5, generator=DRAW, dtype=torch.float64) * 3
AUXILIARY = torch.randn(6, 5, generator=DRAW, dtype=torch.float64)
LABELS = torch.tensor([0, 4, 2, 2, 1, 3])


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
    objective = TASKS["classification"]().make_objective(
        ObjectiveSpec(tuple("abcde"), label_smoothing=smoothing)
    )
    expected = pytest.approx(by_hand(LOGITS, LABELS, smoothing), rel=1e-12)
    assert float(objective.loss(LOGITS, LABELS)) == expected
    loss, logits = objective.supernet_loss(lambda images: LOGITS, (torch.zeros(6, 1), LABELS))
    assert float(loss) == expected
    assert logits is LOGITS


def test_the_auxiliary_loss_is_added_with_its_factor() -> None:
    objective = TASKS["classification"]().make_objective(
        ObjectiveSpec(tuple("abcde"), label_smoothing=0.1, auxiliary=0.4)
    )
    batch = (torch.zeros(6, 1), LABELS)
    loss, logits = objective.network_loss(ConstantNetwork(torch.nn.Identity()), batch)
    main, extra = by_hand(LOGITS, LABELS, 0.1), by_hand(AUXILIARY, LABELS, 0.1)
    assert float(loss) == pytest.approx(main + 0.4 * extra, rel=1e-12)
    assert logits is LOGITS
    loss, _ = objective.network_loss(ConstantNetwork(None), batch)
    assert float(loss) == pytest.approx(main, rel=1e-12)
