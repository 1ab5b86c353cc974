"""Networks of an elastic search: within budgets, with the weights and scores of the supernet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from darts import evaluate
from darts.config import ConfigError, compose, launch
from darts.judging.one_shot import OneShotScorer
from darts.recipes import retrain, search
from darts.recipes.trained import TrainedNetwork
from darts.spaces import parse_genotype
from darts.spaces.elastic import Elastic
from darts.training.checkpoint import FILE, load_checkpoint

SIZES = ("dataset=synthetic", "dataset.samples=64", "device=cpu", "space=elastic")
SIZES += ("space.channels=4", "space.expansions=[50,100,200]")
SIZES += ("tracking.tensorboard=false", "tracking.figures=false")
SMALL = (*SIZES, "method=sandwich", "epochs=1", "train_portion=0.5")
SMALL += ("discretize.samples=12", "discretize.population=3")
FRONT = ("front.cost=macs", "front.points=3")


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    words = [*SMALL, *overrides, f"hydra.run.dir={folder}"]
    return launch("search", search.check, search.search, words)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elastic")
    assert run(folder, *FRONT)["front_points"] > 1
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "front.csv").open() as file:
        return list(csv.DictReader(file))


def test_each_network_of_the_front_has_the_weights_and_scores_of_the_table(searched: Path) -> None:
    scorer, rows = OneShotScorer(searched, 4), rows_of(searched)
    for number, row in enumerate(rows, 1):
        trained = TrainedNetwork.load(str(searched / "front" / str(number)))
        assert str(trained.genotype) == row["genotype"]
        assert float(row["macs"]) <= float(row["budget"])
        expected = scorer.network(trained.genotype).state_dict()
        counts = {name for name in expected if name.endswith("num_batches_tracked")}
        for name in expected.keys() - counts:
            torch.testing.assert_close(trained.weights[name], expected[name])
        score = scorer.scores(trained.genotype)["valid_accuracy"]
        assert float(row["valid_accuracy"]) == pytest.approx(score)
    # Nothing but the smallest network is within the smallest budget.
    space = Elastic(channels=4, expansions=[50, 100, 200])
    assert parse_genotype(rows[0]["genotype"]) == space.extremes()[0]
    best = TrainedNetwork.load(str(searched / "network"))
    assert best.genotype.to_json() == (searched / "genotype.json").read_text()


def test_networks_of_the_front_are_scored_and_trained_further(
    searched: Path, tmp_path: Path
) -> None:
    checkpoint = str(searched / "front" / "1")
    words = [f"checkpoint={checkpoint}", "split=valid", f"hydra.run.dir={tmp_path / 'scores'}"]
    summary = launch("evaluate", evaluate.check, evaluate.evaluate, words)
    score = float(rows_of(searched)[0]["valid_accuracy"])
    assert summary["valid_accuracy"] == pytest.approx(score)
    words = [*SIZES, f"genotype={checkpoint}", f"start={checkpoint}", "epochs=1"]
    words += ["optimizer.lr=1e-9", f"hydra.run.dir={tmp_path / 'tuned'}"]
    launch("retrain", retrain.check, retrain.retrain, words)
    before, after = (TrainedNetwork.load(str(p)) for p in (checkpoint, tmp_path / "tuned"))
    weight = before.weights["classifier.weight"]  # the learning rate is tiny
    torch.testing.assert_close(after.weights["classifier.weight"], weight)


def test_a_finished_search_has_networks_for_other_budgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "front.cost=macs", "front.points=4", "front.least=20000")
    scored = load_checkpoint(tmp_path / FILE, "search")["discretization"]["texts"]
    words = [f"resume={tmp_path}", "front.points=2", "front.least=12000", "front.most=19000"]
    launch("search", search.check, search.search, words)
    rows = rows_of(tmp_path)
    assert float(rows[0]["budget"]) == 12000
    assert all(float(row["macs"]) <= float(row["budget"]) <= 19000 for row in rows)
    assert len([path for path in (tmp_path / "front").iterdir() if path.is_dir()]) == len(rows)
    after = load_checkpoint(tmp_path / FILE, "search")["discretization"]["texts"]
    assert after[: len(scored)] == scored
    assert len(after) <= len(scored) + 2
    (tmp_path / "summary.json").unlink()  # as after an interrupt
    launch("search", search.check, search.search, words[:1])
    assert rows_of(tmp_path) == rows
    for again in (words[:1], words):
        with pytest.raises(SystemExit):
            launch("search", search.check, search.search, again)
        assert "is complete; nothing to resume" in capsys.readouterr().err


def test_evolution_alone_keeps_limits(tmp_path: Path) -> None:
    summary = run(tmp_path, "limit.macs=60000")
    assert summary["network_macs"] <= 60000
    assert str(TrainedNetwork.load(str(tmp_path / "network")).genotype) == summary["genotype"]


def test_keys_of_learned_budgets_are_refused() -> None:
    words = [*SMALL, *FRONT, "front.anchors=3"]
    message = "front.anchors has no effect with discretize=evolution"
    with pytest.raises(ConfigError, match=message):
        search.check(compose("search", words))
