"""Score a network on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from darts.engine.device import autocast


@torch.no_grad()
def evaluate(
    net: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    task: Any,
    *,
    device: torch.device,
    precision: str = "fp32",
    forward: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """All scores of the task, in evaluation mode; the network's mode is put back.

    Args:
        net: what is switched to evaluation mode.
        batches: one pass over the split, ``(images, labels)`` on the device.
        task: gives the scores.
        device: where the batches are.
        precision: of the forward passes; scores are computed in float32.
        forward: maps images to logits; ``net`` itself when not given.
    """
    scores = task.scores(device)
    training = net.training
    net.eval()
    try:
        for images, labels in batches:
            with autocast(precision, device):
                logits = (forward or net)(images)
            scores.update(logits.float(), labels)
    finally:
        net.train(training)
    return scores.compute()
