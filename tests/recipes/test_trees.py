"""Gradient-boosted trees with which networks on tables are compared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from darts.config import compose
from darts.data_modules.data_module import make_data_module
from darts.recipes import tree_answer
from darts.recipes.gain import Gain
from darts.recipes.model import load
from darts.recipes.trained import TrainedNetwork
from darts.recipes.tree_answer import compare_trees
from darts.recipes.trees import FILE, TRIALS, Trees, TreeScores, boost_trees, can_boost
from darts.spaces import parse_genotype
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.training.checkpoint import NETWORK, CheckpointError, load_checkpoint, save_checkpoint
from darts.training.distributed import Ranks
from darts.training.interrupt import Interrupted

GENOTYPE = '{"space": "mlp", "layers": ["relu_8"]}'


def table(folder: Path, *overrides: str, number: bool = False) -> tuple[Any, Any]:
    """Return the settings and data of a table; the target is a step of one of two columns."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 200), ("test", 80)):
        rows = draw.normal(size=(count, 2))
        targets = [f"{3 * (row[0] > 0) + 1}.5" if number else "ab"[int(row[0] > 0)] for row in rows]
        lines = [f"{row[0]},{row[1]},{target}" for row, target in zip(rows, targets, strict=True)]
        (folder / f"{split}.csv").write_text("\n".join(["x,y,target", *lines]) + "\n")
    words = ("dataset=csv", f"dataset.root={folder}", "space=mlp", "validation=0.25")
    config = compose("retrain", [*words, f"genotype={GENOTYPE}", *overrides])
    data = make_data_module(config, Ranks("cpu"))
    data.retrain_loaders()
    return config, data


@pytest.mark.parametrize("number", [False, True])
def test_the_first_setting_has_the_score_of_scikit_learn(number: bool, tmp_path: Path) -> None:
    words = ["task=regression"] if number else []
    config, data = table(tmp_path, *words, number=number)

    trees = boost_trees(config, [data], seconds=0.0, directory=tmp_path)

    assert (trees.trials, trees.setting) == (1, {"max_iter": 10})
    kind = HistGradientBoostingRegressor if number else HistGradientBoostingClassifier
    source, kept = data.source, data.subsets
    x, y = source.train.pixels.flatten(1).numpy(), source.train.labels.flatten().numpy()
    valid = kind(random_state=0, max_iter=10).fit(x[kept["train"]], y[kept["train"]])
    assert trees.valid == pytest.approx(valid.score(x[kept["valid"]], y[kept["valid"]]), abs=1e-6)
    final = kind(random_state=0, max_iter=10).fit(x, y)
    model, inputs = load(tmp_path / FILE), source.test.pixels
    test_x = inputs.flatten(1).numpy()
    if number:
        mean, deviation = data.target_scale.mean[0], data.target_scale.deviation[0]
        expected = torch.from_numpy(final.predict(test_x)[:, None] * deviation + mean).float()
        torch.testing.assert_close(model(inputs), expected)
    else:
        expected = torch.from_numpy(final.predict_proba(test_x)).float()
        torch.testing.assert_close(model(inputs).softmax(1), expected)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_network_of_trees_is_exact_also_at_their_thresholds(classes: int) -> None:
    """Columns have few values, so most samples are at a threshold. One class has no row."""
    data: Any = SimpleNamespace(target_names="abcde"[: classes + 1], objective=lambda: None)
    draw = np.random.default_rng(0)
    rows = torch.from_numpy(draw.integers(0, 9, (300, 3)) / 10).float()
    labels = torch.from_numpy(draw.integers(0, classes, 300))
    labels[rows[:, 0] > 0.5] = 0
    trees = Trees((rows, labels), data, {"max_iter": 20}, seed=0)
    found = trees.network(parse_genotype(GENOTYPE))(rows[..., None, None])
    torch.testing.assert_close(found.softmax(1), trees(rows).softmax(1), atol=1e-6, rtol=1e-4)
    assert found.softmax(1)[:, -1].max() < 1e-9


def test_the_best_of_several_settings_wins_and_classes_may_have_one_row(tmp_path: Path) -> None:
    config, data = table(tmp_path, "task.class_weights=balanced")
    labels = data.source.train.labels
    noise = torch.rand(len(labels), generator=torch.Generator().manual_seed(0)) < 0.3
    labels[noise] = 1 - labels[noise]
    alone = boost_trees(config, [data], seconds=0.0, directory=tmp_path).valid
    trees = boost_trees(config, [data], seconds=None, directory=tmp_path)
    assert trees.trials == TRIALS
    assert trees.valid > alone
    assert len(trees.setting) > 1
    labels[:] = 0
    labels[data.subsets["train"][0]] = 1
    assert boost_trees(config, [data], seconds=0.0, directory=tmp_path).valid is not None


def test_a_signal_ends_the_training_after_a_setting(tmp_path: Path) -> None:
    stopping = Mock(side_effect=[False, True])
    config, data = table(tmp_path)
    with pytest.raises(Interrupted):
        boost_trees(config, [data], None, tmp_path, stopping)
    assert stopping.call_count == 2
    assert not (tmp_path / FILE).exists()


def test_other_data_has_no_trees(tmp_path: Path) -> None:
    _, data = table(tmp_path)
    assert can_boost(data, "accuracy")
    assert not can_boost(data, "top5_accuracy")  # of two classes
    words = ["space=mlp", f"genotype={GENOTYPE}"]
    assert not can_boost(make_data_module(compose("retrain", words), Ranks("cpu")), "accuracy")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"depth": 2**20}, r"trees\.depth"),
        ({"trees": 0}, r"trees\.trees"),
        ({"nodes": 2**24}, "the weights do not fit the network"),
    ],
)
def test_damaged_sizes_are_refused(sizes: Any, message: str, tmp_path: Path) -> None:
    config, data = table(tmp_path)
    boost_trees(config, [data], seconds=0.0, directory=tmp_path)
    content = load_checkpoint(tmp_path / FILE)
    save_checkpoint(tmp_path / FILE, NETWORK, {**content, "trees": content["trees"] | sizes})
    with pytest.raises(CheckpointError, match=message):
        TrainedNetwork.load(str(tmp_path / FILE))


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (0.2, "+20 points (95 % interval +15 to +25), so the trees are better."),
        (-0.2, "-20 points (95 % interval -25 to -15), so the network is better."),
        (0.02, "+2 points (95 % interval -3 to +7), which may be chance."),
    ],
)
@pytest.mark.parametrize(("valid", "can_win"), [(0.9, True), (0.9, False), (0.5, True)])
def test_better_trees_become_the_answer_if_they_may(
    difference: float,
    verdict: str,
    valid: float,
    can_win: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gain = Gain({"accuracy": 0.6}, {}, difference, difference - 0.05, difference + 0.05, 80)
    monkeypatch.setattr(tree_answer, "measure_gain", lambda *_, **__: gain)
    for name in (FILE, "checkpoint.safetensors"):
        (tmp_path / name).write_text(name)
    summary = {"valid_accuracy": 0.5, "valid_loss": 1.0, "test_accuracy": 0.4, "verdict": "Found."}
    found = compare_trees(
        tmp_path,
        TreeScores({"max_iter": 10}, valid, 3, 7.0),
        summary,
        CLASSIFICATION_METRICS["accuracy"],
        can_win=can_win,
    )
    assert found["tree_note"].endswith(verdict)
    assert "the best of 3 settings in 0:00:07" in found["tree_note"]
    assert (found["tree_valid_accuracy"], found["tree_test_accuracy"]) == (valid, 0.6)
    assert found["tree_gain"] == difference
    wins = can_win and valid > 0.5
    answer = (tmp_path / "checkpoint.safetensors").read_text()
    assert (answer, found["result"]) == (
        (FILE, "trees") if wins else ("checkpoint.safetensors", "network")
    )
    assert (found["valid_accuracy"], found["test_accuracy"]) == ((0.9, 0.6) if wins else (0.5, 0.4))
    assert ("valid_loss" in found) != wins
    if wins:
        assert (found["network_valid_accuracy"], found["network_test_accuracy"]) == (0.5, 0.4)
        assert "The trees are the result" in found["verdict"]
        assert found["network_verdict"] == "Found."
