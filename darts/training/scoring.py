"""Score a network on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from darts.tasks import Objective
from darts.training.device import autocast


@torch.no_grad()
def evaluate(
    net: nn.Module,
    batches: Iterable[Any],
    objective: Objective,
    *,
    device: torch.device,
    precision: str = "fp32",
    forward: Callable[..., Any] | None = None,
) -> dict[str, float]:
    """All scores of the objective, in evaluation mode; the network's mode is put back.

    Args:
        net: what is switched to evaluation mode.
        batches: one pass over the split, on the device.
        objective: says what is asked of the network, and gives the scores.
        device: where the batches are.
        precision: of the forward passes; scores are computed in float32.
        forward: stands for the network; ``net`` itself when not given.
    """
    scores = objective.scores(device)
    training = net.training
    net.eval()
    try:
        for batch in batches:
            with autocast(precision, device):
                outputs = objective.predict(forward or net, batch)
            scores.update(outputs, batch)
    finally:
        net.train(training)
    return scores.compute()
