"""Scores by inherited weights, against an evaluation made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from darts.hpo.tools import run_command
from darts.judging.one_shot import OneShot
from darts.spaces import cnn
from darts.spaces.nas201 import EdgewiseSupernet, Genotype, unfuse_state_dict
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES
from darts.training.checkpoint import load_checkpoint

SEARCH = (
    *("dataset=synthetic", "dataset.samples=96", "space=nas201", "method=random_sharing"),
    *("space.channels=2", "space.cells=1", "epochs=1", "loader.batch_size=8", "seed=3"),
    *("discretize.samples=2", "tracking.tensorboard=false", "tracking.pictures=false"),
)
BATCHES = 4


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet") / "run"
    run_command("search", SEARCH, folder)
    return folder


def by_hand(searched: Path, genotype: Genotype, one: OneShot) -> tuple[float, float]:
    """Accuracy and loss: one-hot weights, statistics as means over the calibration batches."""
    net = EdgewiseSupernet(channels=2, cells=1, classes=10, in_channels=3)  # the slow oracle
    state = load_checkpoint(searched / "checkpoint.pt")["searcher"]["net"]
    net.load_state_dict(unfuse_state_dict(state))
    weights = torch.zeros(len(EDGES), len(PRIMITIVES))
    for row, name in enumerate(genotype.operations):
        weights[row, PRIMITIVES.index(name)] = 1
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a cumulative mean
    with torch.no_grad():
        net.train()
        for images, _ in one._calibration:
            net(images, {"cell": weights})
        net.eval()
        pairs = [(net(images, {"cell": weights}), labels) for images, labels in one._valid.epoch(0)]
    logits, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    right = (logits.argmax(1) == labels).float().mean()
    return float(right), float(nn.functional.cross_entropy(logits, labels))


def test_scores_are_those_of_the_path_with_statistics_of_its_own(searched: Path) -> None:
    one = OneShot(searched, BATCHES)
    assert len(one._calibration) == BATCHES
    for index in (15624, 77, 4321, 0):
        genotype = Genotype.from_index(index)
        found = one.scores(genotype)
        accuracy, loss = by_hand(searched, genotype, one)
        assert found["valid_accuracy"] == pytest.approx(accuracy)
        assert found["valid_loss"] == pytest.approx(loss, rel=1e-4)
    # What was scored before leaves no trace.
    again = one.scores(Genotype.from_index(15624))
    assert again == OneShot(searched / "checkpoint.pt", BATCHES).scores(Genotype.from_index(15624))


def test_the_parts_are_those_of_the_search(searched: Path) -> None:
    """Calibrated on the weights' half, scored on that of the alphas."""
    one = OneShot(searched, 1000)
    assert sum(len(labels) for _, labels in one._calibration) <= 48  # whole batches
    assert sum(len(labels) for _, labels in one._valid.epoch(0)) == 48


def test_what_cannot_be_scored(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"evaluation\.checkpoint='.*no' is neither the directory"):
        OneShot(tmp_path / "no", 1)
    with pytest.raises(ValueError, match="the supernet is of space=nas201, the genotype of cnn"):
        OneShot(searched, 1).scores(cnn.PUBLISHED["DARTS_V2"].genotype)
