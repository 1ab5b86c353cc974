"""Worthless results: what counts as one, and how commands report it."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

from darts.reading import read_json
from darts.searching.flaws import (
    FlawFinder,
    at_chance,
    disjoint_classes,
    not_finite,
    uniform_alphas,
)
from darts.tasks.chance import ChanceLevel

CHANCE = ChanceLevel("accuracy", 0.3, True, "guessing")
TINY = (
    "dataset=synthetic",
    "space=mlp",
    "space.widths=[4,8]",
    "tracking.tensorboard=false",
    "tracking.figures=false",
)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_found(bad: float) -> None:
    fine = {"weight": torch.ones(3), "count": torch.tensor(4)}
    assert not_finite({"loss": 1.0, "bleu": math.nan}, fine) is None
    assert not_finite({}, fine) is None
    assert str(bad) in str(not_finite({"loss": bad}, fine))
    assert "alphas.normal" in str(not_finite({}, fine | {"alphas.normal": torch.tensor([1, bad])}))


def test_scores_at_chance_are_found() -> None:
    assert at_chance({"accuracy": 0.31}, CHANCE, "valid") is None
    assert at_chance({"loss": 9.0}, CHANCE, "valid") is None
    assert at_chance({"accuracy": 0.1}, None, "valid") is None
    text = at_chance({"accuracy": 0.3}, CHANCE, "test")
    assert text.startswith("test_accuracy 0.3 is not better than the chance level 0.3 (")


def test_alphas_are_uniform_if_those_of_most_edges_are() -> None:
    torch.manual_seed(0)
    start = {"normal": (1e-3 * torch.randn(5, 8)).softmax(-1), "reduce": torch.full((2, 4), 0.25)}
    assert uniform_alphas(start) is not None
    # Sigmoids and edge weights do not sum to 1; dropped candidates do not count.
    assert uniform_alphas({"normal": torch.full((3, 5), 0.6)}) is not None
    assert uniform_alphas({"normal": torch.tensor([[0.5, 0.5, 0.0]])}) is not None
    decided = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0]).softmax(-1)
    some_edges = start["normal"].clone()
    some_edges[:3] = decided
    flaw = uniform_alphas(start | {"normal": some_edges})
    assert flaw is not None
    assert "on 4 of 7 edges" in flaw
    some_edges[3] = decided
    assert uniform_alphas(start | {"normal": some_edges}) is None
    no_choice = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert uniform_alphas({"normal": no_choice}) is None
    assert uniform_alphas({}) is None


def test_weights_and_alphas_must_share_a_class() -> None:
    some, others = torch.tensor([0, 1]), torch.tensor([2])
    assert disjoint_classes({"weights": some, "alphas": others}) is not None
    assert disjoint_classes({"weights": some, "alphas": torch.tensor([2, 1])}) is None
    assert disjoint_classes({}) is None
    assert disjoint_classes({"train": some, "valid": others}) is None


def test_only_learned_alphas_must_differ() -> None:
    uniform = {"normal": torch.full((2, 4), 0.25)}
    assert FlawFinder(None).find({}, {}, uniform) == []
    assert len(FlawFinder(None, learns_alphas=True).find({}, {}, uniform)) == 1


def test_a_broken_network_has_no_further_flaws() -> None:
    finder = FlawFinder(CHANCE, learns_alphas=True)
    (flaw,) = finder.find({"loss": math.nan, "accuracy": 0.1}, {}, {"a": torch.ones(1, 2)})
    assert "loss is nan" in flaw


def run_main(
    monkeypatch: pytest.MonkeyPatch, command: str, directory: Path, *overrides: str
) -> None:
    arguments = [*TINY, *overrides, f"hydra.run.dir={directory}"]
    monkeypatch.setattr(sys, "argv", [f"darts.{command}", *arguments])
    importlib.import_module(f"darts.{command}").main()


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_worthless_search_is_complete_and_exits_with_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    overrides = ("dataset.samples=40", "epochs=2", "optimizer.lr=1e6", "collapse.every=1")
    with pytest.raises(SystemExit, match=r"^3$"):
        run_main(monkeypatch, "search", run, *overrides)
    assert one_line(capsys).startswith("darts search: the result is worthless: valid_accuracy")
    summary = read_json(run / "summary.json")
    assert "the alphas are still uniform" in summary["undecided"]
    assert summary["collapse_verdict"].endswith(summary["undecided"])
    assert summary["collapse_healthy_epoch"] is None


def test_a_healthy_run_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, trained = tmp_path / "search", tmp_path / "retrain"
    overrides = ("dataset.samples=256", "loader.batch_size=16", "optimizer.lr=0.1")
    lr = "arch_optimizer.lr=0.1"
    run_main(monkeypatch, "search", found, *overrides, "epochs=6", lr, "collapse.every=3")
    options = ("auxiliary=0", "drop_path=0", "cutout=0", f"genotype={found}", "epochs=8")
    run_main(monkeypatch, "retrain", trained, *overrides, *options)
    assert capsys.readouterr().err == ""
    for run in (found, trained):
        summary = read_json(run / "summary.json")
        assert summary["worthless"] is None
        assert summary["valid_accuracy"] > 0.5
    assert read_json(found / "summary.json")["collapse_verdict"] == "healthy"


def test_a_retraining_without_validation_data_is_judged_by_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("auxiliary=0", "drop_path=0", "cutout=0", "epochs=1", "optimizer.lr=1e-9")
    data = ("dataset.samples=40", "validation=0", "selection=last", "optimizer.lr_min=0")
    genotype = 'genotype={"space": "mlp", "layers": ["relu_4"]}'
    with pytest.raises(SystemExit, match=r"^3$"):
        run_main(monkeypatch, "retrain", tmp_path / "run", *options, *data, genotype)
    assert "worthless: test_accuracy" in one_line(capsys)


def test_a_search_with_one_sample_per_class_is_worthless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    data = ("dataset.samples=8", "dataset.classes=8", "loader.batch_size=4")
    with pytest.raises(SystemExit, match=r"^3$"):
        run_main(monkeypatch, "search", run, *data, "epochs=1")
    assert "trained on different classes" in one_line(capsys)
