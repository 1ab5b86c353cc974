"""Score a network on a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from darts.data import Batch
from darts.tasks import Forward, Objective
from darts.tasks.metrics import Scores, joined
from darts.training.device import precision_context


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode inside the context; restore the mode of each module."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:  # net.train() would set all modules alike
            module.training = training


@torch.no_grad()
def evaluate(
    net: nn.Module,
    batches: Iterable[Batch],
    objective: Objective,
    *,
    device: torch.device,
    precision: str = "fp32",
    forward: Forward | None = None,
    observe: Callable[[object, Batch], None] | None = None,
    scores: Scores | None = None,
) -> dict[str, float]:
    """Return all metrics of the objective, by name; the network is in evaluation mode meanwhile.

    The network and the batches are on ``device``. ``precision`` is for the forward passes only.
    ``forward`` is called instead of ``net``, for example with fixed mixing weights, and ``observe``
    with the predictions for each batch and the batch. ``scores`` keep the results of samples.
    """
    scores = scores or objective.scores()
    with evaluating(net):
        for batch in batches:
            with precision_context(precision, device):
                outputs = objective.predict(forward or net, batch)
            scores.update(outputs, batch)
            if observe is not None:
                observe(outputs, batch)
    return scores.compute()


def predict_all(
    net: nn.Module,
    batches: Iterable[Batch],
    objective: Objective,
    *,
    device: torch.device,
    precision: str = "fp32",
) -> tuple[Tensor, Tensor]:
    """Return the outputs ``(N, K)`` float64 for the samples of all ranks, and their targets.

    The network returns one row of outputs for each sample. Both tensors are on the CPU.
    """
    rows: list[tuple[Tensor, Tensor]] = []

    def observe(outputs: object, batch: Batch) -> None:
        assert isinstance(outputs, Tensor)
        rows.append((outputs, batch[1]))

    evaluate(net, batches, objective, device=device, precision=precision, observe=observe)
    outputs, targets = (torch.from_numpy(joined(column)) for column in zip(*rows, strict=True))
    return outputs, targets.to(rows[0][1].dtype)


def memorizes(row: Mapping[str, Any]) -> bool:
    """Return whether a network is better on its training samples than on validation samples.

    ``row`` has the metrics of an epoch, with names such as ``train_loss`` and ``valid_loss``.
    """
    for name in ("accuracy", "exact_match"):  # losses may differ by label smoothing
        if f"train_{name}" in row and f"valid_{name}" in row:
            return float(row[f"train_{name}"]) > float(row[f"valid_{name}"])
    return float(row["train_loss"]) < float(row["valid_loss"])
