"""Batch norm with the statistics of one path of a supernet, and a way back from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from darts.tasks import Objective
from darts.training.checkpoint import random_states, restore_random_states
from darts.training.device import autocast


@torch.no_grad()
def calibrate(
    net: Any,
    forward: Callable[..., Any],
    batches: Iterable[Any],
    objective: Objective,
    *,
    device: torch.device,
    precision: str,
) -> None:
    """Take the statistics of batch norm anew, as the plain mean over some batches.

    A norm that is moved many times by a batch, as in a recurrent cell, keeps its own momentum from
    the second batch on: that forgets what was before the batch, and is how it is trained.

    Args:
        net: supernet, left in training mode.
        forward: of the path.
        batches: of training data, the same number on all ranks.
        objective: runs the path as in training.
        device: where the batches are.
        precision: of the forward passes.

    References:
        Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        arXiv:1904.00420, section 3.4.
    """
    norms = _norms(net)
    before = [norm.momentum for norm in norms]
    moves = [_moves(norm) for norm in norms]
    net.train()
    try:
        for number, batch in enumerate(batches, 1):
            for norm, own, start in zip(norms, before, moves, strict=True):
                many = _moves(norm) - start > number - 1
                norm.momentum = own if many else 1 / number
            with autocast(precision, device):
                objective.supernet_loss(forward, batch)
    finally:
        for norm, own in zip(norms, before, strict=True):
            norm.momentum = own


def _norms(net: nn.Module) -> list[Any]:
    return [
        module
        for module in net.modules()
        if getattr(module, "momentum", None) is not None and list(module.buffers(recurse=False))
    ]


def _moves(norm: Any) -> int:
    count = getattr(norm, "num_batches_tracked", None)
    return 0 if count is None else int(count.max())  # of several edges, where they have one each


@contextmanager
def undisturbed(net: Any) -> Iterator[None]:
    """Afterwards the supernet's buffers and mode and all random states are as they were before."""
    random, training, dropout = random_states(), net.training, net.skip_dropout
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    net.skip_dropout = 0.0
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        net.train(training)
        net.skip_dropout = dropout
        restore_random_states(random)
