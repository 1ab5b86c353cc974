"""A trained network in one safetensors file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import darts
from darts.recipes.exporting.export import save_network
from darts.recipes.trained import TrainedNetwork
from darts.training.checkpoint import load_checkpoint

QUIET = ["tracking.tensorboard=false", "tracking.figures=false", "evaluate_test=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    small = ["space.channels=4", "space.cells=2", "dataset.samples=48", "auxiliary=0.4"]
    return darts.retrain(
        "DARTS_V2", data="synthetic", epochs=1, out=folder / "run", overrides=[*QUIET, *small]
    ).directory


def test_no_path_of_this_machine_is_in_the_file(run: Path, tmp_path: Path) -> None:
    trained = TrainedNetwork.load(str(run))
    trained.config.dataset.root = "/home/me/secret"
    trained.config.resume = trained.config.start = "/home/me/runs"
    save_network(trained, tmp_path / "network.safetensors")
    assert b"/home/me" not in (tmp_path / "network.safetensors").read_bytes()


def test_weights_that_share_memory_are_saved(run: Path, tmp_path: Path) -> None:
    trained = TrainedNetwork.load(str(run))
    weight = torch.arange(3.0)
    tied = TrainedNetwork(**{**vars(trained), "weights": {"a": weight, "b": weight}})
    save_network(tied, tmp_path / "network.safetensors")
    content = load_checkpoint(tmp_path / "network.safetensors")
    assert all(content["best"]["net"][name].equal(weight) for name in "ab")
