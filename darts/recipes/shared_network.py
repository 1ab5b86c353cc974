"""A trained network as one safetensors file, to share it without the state of its training.

It is a checkpoint without the path of the training data, in which the weights have the names of the
state dict of the network.
"""

from __future__ import annotations

from pathlib import Path

from darts.recipes.trained import TrainedNetwork
from darts.training.checkpoint import NETWORK, save_checkpoint

DEFAULT_ROOT = "data"


def save_network(trained: TrainedNetwork, path: Path) -> None:
    """Write a network to a file.

    Raises:
        WriteError: If the disk is full or fails.
    """
    entries = trained.entries()
    for owner in (entries, *entries["members"]):  # no paths of this machine
        config = owner["config"]
        config["dataset"]["root"], config["resume"], config["start"] = DEFAULT_ROOT, None, None
    # Copies of tied weights are stored separately, so that a state dict is complete.
    weights = {name: weight.clone() for name, weight in trained.weights.items()}
    best = {"epoch": trained.epoch, "scores": {}, "net": weights}
    save_checkpoint(path, NETWORK, {**entries, "best": best}, prefix="best.net.")
