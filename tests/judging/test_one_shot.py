"""One-shot scores, compared with a separate evaluation of the edgewise supernet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from oracles.nas201_supernet import EdgewiseSupernet, unfuse_state_dict
from torch import nn

from darts.judging.one_shot import OneShotScorer
from darts.recipes.commands import run_command
from darts.spaces import cnn
from darts.spaces.nas201 import Genotype
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES
from darts.training.checkpoint import load_checkpoint

SEARCH = (
    "dataset=synthetic",
    "dataset.samples=96",
    "space=nas201",
    "method=random_sharing",
    "space.channels=2",
    "space.cells=1",
    "epochs=1",
    "loader.batch_size=8",
    "seed=3",
    "discretize.samples=2",
    "tracking.tensorboard=false",
    "tracking.figures=false",
)
BATCHES = 4


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet") / "run"
    run_command("search", SEARCH, folder)
    return folder


def slow_scores(searched: Path, genotype: Genotype, scorer: OneShotScorer) -> tuple[float, float]:
    """Return accuracy and loss with one-hot weights and mean batch-norm statistics."""
    net = EdgewiseSupernet(channels=2, cells=1, classes=10, in_channels=3)  # the slow oracle
    state = load_checkpoint(searched / "checkpoint.safetensors")["searcher"]["net"]
    net.load_state_dict(unfuse_state_dict(state))
    weights = torch.zeros(len(EDGES), len(PRIMITIVES))
    for row, name in enumerate(genotype.operations):
        weights[row, PRIMITIVES.index(name)] = 1
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # cumulative mean
    with torch.no_grad():
        net.train()
        for images, _ in scorer._calibration:
            net(images, {"cell": weights})
        net.eval()
        pairs = [
            (net(images, {"cell": weights}), labels) for images, labels in scorer._valid.epoch(0)
        ]
    logits, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    right = (logits.argmax(1) == labels).float().mean()
    return float(right), float(nn.functional.cross_entropy(logits, labels))


def test_scores_match_the_calibrated_path_of_the_edgewise_supernet(searched: Path) -> None:
    scorer = OneShotScorer(searched, BATCHES)
    assert len(scorer._calibration) == BATCHES
    for index in (15624, 77, 4321, 0):
        genotype = Genotype.from_index(index)
        found = scorer.scores(genotype)
        accuracy, loss = slow_scores(searched, genotype, scorer)
        assert found["valid_accuracy"] == pytest.approx(accuracy)
        assert found["valid_loss"] == pytest.approx(loss, rel=1e-4)
    # Scores do not depend on the genotypes scored before.
    again = scorer.scores(Genotype.from_index(15624))
    assert again == OneShotScorer(searched / "checkpoint.safetensors", BATCHES).scores(
        Genotype.from_index(15624)
    )


def test_other_checkpoints_and_spaces_are_refused(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"judge\.checkpoint='.*no' is neither a checkpoint file"):
        OneShotScorer(tmp_path / "no", 1)
    with pytest.raises(ValueError, match="the supernet has space=nas201, the genotype space=cnn"):
        OneShotScorer(searched, 1).scores(cnn.PUBLISHED["DARTS_V2"].genotype)
