"""The outputs of a trained network on its validation samples, and its temperature from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from darts.data.targets import CLASSES
from darts.recipes.temperature import fit_temperature, save_temperature
from darts.recipes.trained import TrainedNetwork, open_split
from darts.tasks import Objective
from darts.tasks.sample_objective import SampleTask
from darts.training.distributed import Ranks
from darts.training.scoring import predict_all


def validation_outputs(run: Path, ranks: Ranks) -> tuple[Tensor, Tensor, Objective]:
    """Return the outputs of a network, ``(N, K)``, with targets and objective, on the CPU."""
    trained = TrainedNetwork.load(str(run))
    net, loader, objective = open_split(trained, ranks, "valid")
    device, precision = ranks.device, trained.config.precision
    found = predict_all(net, loader.epoch(0), objective, device=device, precision=precision)
    return *found, objective


def calibrate(target: Path, runs: Sequence[Path]) -> None:
    """Save the temperature of a classifier in its checkpoint; do nothing for other networks.

    Args:
        target: Run directory with the checkpoint.
        runs: Run directories of networks without a temperature; it is fitted on the validation
            samples of all of them.
    """
    config = TrainedNetwork.load(str(target)).config
    if isinstance(config.task, SampleTask) and config.task.targets == CLASSES:
        found = [validation_outputs(run, Ranks(config.device))[:2] for run in runs]
        logits, classes = map(torch.cat, zip(*found, strict=True))
        save_temperature(target, fit_temperature(logits, classes))
