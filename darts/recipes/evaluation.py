"""The data and the network with which a finished retraining is scored."""

from __future__ import annotations

import torch

from darts.data.targets import CLASSES
from darts.data_modules import DataModule, make_data_module
from darts.recipes.trained import TrainedNetwork
from darts.spaces import NetworkBase
from darts.training.checkpoint import CheckpointError
from darts.training.device import seed_everything
from darts.training.distributed import Ranks


def open_data(
    trained: TrainedNetwork,
    ranks: Ranks,
    *,
    root: str | None = None,
    batch_size: int | None = None,
    workers: int = 4,
) -> DataModule:
    """Return the data of a retraining; also seed all generators with its seed.

    Args:
        trained: Its configuration is changed to the given values.
        ranks: Processes that score the network.
        root: Folder of the data set; None: as in the retraining.
        batch_size: Batch size of evaluation; None: as in the retraining.
        workers: Number of processes that decode files.

    Raises:
        CheckpointError: When the data set has other classes or words than in training, or its
            training split would be encoded in another way.
    """
    dataset, loader = trained.config.dataset, trained.config.loader
    dataset.root = root or dataset.root
    loader.eval_batch_size = batch_size or loader.eval_batch_size
    loader.workers = workers
    seed_everything(trained.config.seed)
    data = make_data_module(trained.config, ranks)
    if tuple(data.target_names) != trained.target_names:
        noun = data.target_noun if trained.config.task.targets == CLASSES else "targets"
        raise CheckpointError(
            f"{trained.file}: trained on {len(trained.target_names)} {noun}, which "
            f"differ from the {len(data.target_names)} of {dataset.name} in {dataset.root}"
        )
    if data.encoding != trained.encoding or data.target_scale != trained.target_scale:
        raise CheckpointError(
            f"{trained.file}: the training data in {dataset.root} has changed: its columns, words "
            "or targets would be encoded in another way than in the training"
        )
    return data


def build_on(trained: TrainedNetwork, device: torch.device) -> NetworkBase:
    """Return the trained network on a device."""
    net = trained.build().to(device)
    # As in training: the memory layout affects the last bits of a score.
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net
