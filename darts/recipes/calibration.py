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


def validation_outputs(runs: Sequence[Path], ranks: Ranks) -> tuple[Tensor, Tensor, Objective]:
    """Return outputs ``(N, K)``, targets and objective, on the CPU.

    The samples are those that the runs of one candidate have held out, in the order of the runs.
    """
    found = []
    for run in runs:
        trained = TrainedNetwork.load(str(run))
        net, loader, objective = open_split(trained, ranks, "valid")
        device, precision = ranks.device, trained.config.precision
        batches = loader.epoch(0)
        found.append(predict_all(net, batches, objective, device=device, precision=precision))
    outputs, targets = map(torch.cat, zip(*found, strict=True))
    return outputs, targets, objective


def calibrate(target: Path, runs: Sequence[Path]) -> None:
    """Save the temperature of a classifier in its checkpoint; do nothing for other networks.

    Args:
        target: Run directory with the checkpoint.
        runs: Run directories of networks without a temperature; it is fitted on the validation
            samples of all of them.
    """
    config = TrainedNetwork.load(str(target)).config
    if isinstance(config.task, SampleTask) and config.task.targets == CLASSES:
        logits, classes, _ = validation_outputs(runs, Ranks(config.device))
        save_temperature(target, fit_temperature(logits, classes))
