"""One-shot scores, and a predictor that learns from a few truths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.comparing import slow_path_score
from oracles.nas201_supernet import EdgewiseSupernet, unfuse_state_dict

from darts.judging.one_shot import OneShotScorer
from darts.judging.predictor import encode, predict
from darts.judging.rankings import agreement
from darts.recipes.commands import run_command
from darts.spaces import SPACES, cnn
from darts.spaces.nas201 import Genotype
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES
from darts.spaces.parameters import Choice, Parameter, Point, Range
from darts.training.checkpoint import load_checkpoint

SEARCH = (
    *("dataset=synthetic", "dataset.samples=96", "space=nas201", "method=random_sharing"),
    *("space.channels=2", "space.cells=1", "epochs=1", "loader.batch_size=8", "seed=3"),
    *("discretize.samples=2", "tracking.tensorboard=false", "tracking.figures=false"),
)
BATCHES = 4


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet") / "run"
    run_command("search", SEARCH, folder)
    return folder


def test_scores_match_the_calibrated_path_of_the_edgewise_supernet(searched: Path) -> None:
    scorer = OneShotScorer(searched, BATCHES)
    assert len(scorer._calibration) == BATCHES
    state = load_checkpoint(searched / "checkpoint.safetensors")["searcher"]["net"]
    for index in (15624, 77, 4321, 0):
        genotype = Genotype.from_index(index)
        found = scorer.scores(genotype)
        net = EdgewiseSupernet(channels=2, cells=1, classes=10, in_channels=3)  # the slow oracle
        net.load_state_dict(unfuse_state_dict(state))
        weights = {"cell": torch.zeros(len(EDGES), len(PRIMITIVES))}
        for row, name in enumerate(genotype.operations):
            weights["cell"][row, PRIMITIVES.index(name)] = 1
        batches = scorer._calibration, scorer._valid.epoch(0)
        accuracy, loss = slow_path_score(net, weights, *batches)
        assert found["valid_accuracy"] == pytest.approx(accuracy)
        assert found["valid_loss"] == pytest.approx(loss, rel=1e-4)
    # Scores do not depend on the genotypes scored before.
    again = scorer.scores(Genotype.from_index(15624))
    new = OneShotScorer(searched / "checkpoint.safetensors", BATCHES)
    assert again == new.scores(Genotype.from_index(15624))


def test_other_checkpoints_and_spaces_are_refused(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"judge\.checkpoint='.*no' is neither a checkpoint file"):
        OneShotScorer(tmp_path / "no", 1)
    with pytest.raises(ValueError, match="the supernet has space=nas201, the genotype space=cnn"):
        OneShotScorer(searched, 1).scores(cnn.PUBLISHED["DARTS_V2"].genotype)


COUNT, KNOWN = 120, 40


def example() -> tuple[list, list, np.ndarray]:
    """Return parameters, points and a truth that counts convolutions of nas201 cells."""
    space = SPACES["nas201"]()
    generator = torch.Generator().manual_seed(0)
    points = [space.encode(space.random(generator)) for _ in range(COUNT)]
    noise = np.random.default_rng(0).normal(size=COUNT)
    truth = np.array([sum("conv" in str(v) for v in point.values()) for point in points])
    return space.parameters(), points, truth + 0.1 * noise


def known() -> np.ndarray:
    return np.arange(COUNT) < KNOWN


def test_operations_predict_a_truth_that_depends_on_them() -> None:
    parameters, points, truth = example()
    mean, deviation = predict(parameters, points, {}, truth, known())
    assert agreement(mean[KNOWN:], truth[KNOWN:]).spearman > 0.7
    assert mean.shape == deviation.shape == (COUNT,)
    assert (deviation >= 0).all()


@pytest.mark.slow
def test_scores_predict_a_truth_that_operations_cannot() -> None:
    parameters, points, _ = example()
    truth = np.random.default_rng(1).normal(size=COUNT)
    scores = {"good": truth**3, "useless": np.random.default_rng(2).normal(size=COUNT)}
    mean, _ = predict(parameters, points, scores, truth, known())
    blind, _ = predict(parameters, points, {}, truth, known())
    assert agreement(mean[KNOWN:], truth[KNOWN:]).spearman > 0.7
    assert abs(agreement(blind[KNOWN:], truth[KNOWN:]).spearman) < 0.3


def test_numbers_are_scaled_and_choices_are_one_hot() -> None:
    space = [
        Parameter("operation", Choice(("conv", True, 1))),
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("layers", Range(1, 4, integer=True)),
    ]
    points: list[Point] = [
        {"operation": True, "rate": 1e-2, "layers": 4},
        {"operation": 1, "rate": 1e-4, "layers": 1},
    ]
    expected = [[0, 1, 0, 0.5, 1], [0, 0, 1, 0, 0]]
    np.testing.assert_allclose(encode(space, points), expected, atol=1e-6)


def test_inactive_parameters_have_a_column_of_their_own() -> None:
    space = [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("momentum", Range(0.0, 0.9), (("kind", ("sgd",)),)),
        Parameter("nesterov", Choice((True, False)), (("kind", ("sgd",)),)),
    ]
    points: list[Point] = [{"kind": "adam"}, {"kind": "sgd", "momentum": 0.9, "nesterov": True}]
    expected = [[0, 1, 0.5, 1, 0, 0, 1], [1, 0, 1, 0, 1, 0, 0]]
    np.testing.assert_allclose(encode(space, points), expected, atol=1e-6)
