"""Gradient-boosted trees with which networks on tables are compared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from darts.config import compose
from darts.data_modules.data_module import make_data_module
from darts.recipes.trees import (
    TRIALS,
    TreeScores,
    boost_trees,
    can_boost,
    compare_trees,
    save_results,
)
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.training.distributed import Ranks

RNG = np.random.default_rng(0)


def data_module(folder: Path, *overrides: str, number: bool = False) -> Any:
    """Return a table in which the target is a step of one of two columns."""
    for split, count in (("train", 200), ("test", 80)):
        rows = RNG.normal(size=(count, 2))
        targets = [f"{3 * (row[0] > 0) + 1}.5" if number else "ab"[int(row[0] > 0)] for row in rows]
        lines = [f"{row[0]},{row[1]},{target}" for row, target in zip(rows, targets, strict=True)]
        (folder / f"{split}.csv").write_text("\n".join(["x,y,target", *lines]) + "\n")
    words = ("dataset=csv", f"dataset.root={folder}", "space=mlp", "validation=0.25")
    config = compose("retrain", [*words, 'genotype={"space": "mlp", "layers": []}', *overrides])
    data = make_data_module(config, Ranks("cpu"))
    data.retrain_loaders()
    return data


@pytest.mark.parametrize("number", [False, True])
def test_the_first_setting_has_the_score_of_scikit_learn(number: bool, tmp_path: Path) -> None:
    words = ["task=regression"] if number else []
    data = data_module(tmp_path, *words, number=number)
    metric = "r2" if number else "accuracy"

    trees, results = boost_trees(data, metric, seconds=0.0, seed=0)

    assert (trees.trials, trees.setting) == (1, {"max_iter": 10})
    kind = HistGradientBoostingRegressor if number else HistGradientBoostingClassifier
    source, kept = data.source, data.subsets
    x, y = source.train.pixels.flatten(1).numpy(), source.train.labels.flatten().numpy()
    valid = kind(random_state=0, max_iter=10).fit(x[kept["train"]], y[kept["train"]])
    assert trees.valid == pytest.approx(valid.score(x[kept["valid"]], y[kept["valid"]]), abs=1e-6)
    final = kind(random_state=0, max_iter=10).fit(x, y)
    test_x, test_y = source.test.pixels.flatten(1).numpy(), source.test.labels.flatten().numpy()
    assert trees.test[metric] == pytest.approx(final.score(test_x, test_y), abs=1e-6)
    assert len(results) == 80
    assert trees.summary(metric)[f"tree_test_{metric}"] == trees.test[metric] > 0.8


def test_the_best_of_several_settings_wins_and_classes_may_have_one_row(tmp_path: Path) -> None:
    data = data_module(tmp_path, "task.class_weights=balanced")
    labels = data.source.train.labels
    noise = torch.rand(len(labels), generator=torch.Generator().manual_seed(0)) < 0.3
    labels[noise] = 1 - labels[noise]
    alone = boost_trees(data, "accuracy", seconds=0.0, seed=0)[0].valid
    trees, _ = boost_trees(data, "accuracy", seconds=None, seed=0)
    assert trees.trials == TRIALS
    assert trees.valid > alone
    assert len(trees.setting) > 1
    labels[:] = 0
    labels[data.subsets["train"][0]] = 1
    assert boost_trees(data, "accuracy", seconds=0.0, seed=0)[0].valid is not None


def test_other_data_has_no_trees(tmp_path: Path) -> None:
    data = data_module(tmp_path)
    assert can_boost(data, "accuracy")
    assert not can_boost(data, "top5_accuracy")  # of two classes
    words = ["space=mlp", 'genotype={"space": "mlp", "layers": []}']
    assert not can_boost(make_data_module(compose("retrain", words), Ranks("cpu")), "accuracy")


@pytest.mark.parametrize(
    ("hits", "verdict"),
    [(80, "the trees are better"), (10, "the network is better"), (41, "which may be chance")],
)
def test_the_note_says_which_is_better(
    hits: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flags(count: int) -> np.ndarray:
        return np.stack([np.arange(80) < count, np.ones(80)], axis=1).astype(float)

    accuracy = CLASSIFICATION_METRICS["accuracy"]
    network = SimpleNamespace(scores={"accuracy": 0.5}, metric=accuracy, results=flags(40))
    monkeypatch.setattr("darts.recipes.trees.score_samples", lambda *_: network)
    monkeypatch.setattr("darts.recipes.trees.TrainedNetwork.load", lambda _: None)
    trees = TreeScores({}, 0.5, {"accuracy": hits / 80}, 3, 7.0)
    save_results(tmp_path, flags(hits))
    note = compare_trees(tmp_path, trees, "accuracy")
    assert note.endswith(f"{verdict}.")
    assert "the best of 3 settings in 0:00:07" in note
    assert not compare_trees(tmp_path, TreeScores({}, 0.5, {}, 3, 7.0), "accuracy")
