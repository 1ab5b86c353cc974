"""The repeated training on training and validation data: its length and its time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from darts.config import compose
from darts.data_modules import make_data_module
from darts.finding.candidates import Candidate
from darts.finding.decisions import Decisions
from darts.finding.refit import Chosen, refit, refit_reserve, repeated_epochs
from darts.finding.results import Result
from darts.tracking.metrics import MetricsLog
from darts.training.distributed import Ranks

NET = Candidate("net", "family", "genotype", "evolution")
BASELINE = Candidate("plain", "family", "genotype", "baseline")


def result(candidate: Candidate, best: int | None = None, epochs: int = 20) -> Result:
    summary = {"seconds": 2.0 * epochs} | ({} if best is None else {"epoch": best})
    return Result(candidate, epochs, Path(candidate.name), summary, 0.5)


class FakeTrainer:
    """Two seconds per epoch; ``failing`` are the names of trainings that fail."""

    metric = ("accuracy", None)

    def __init__(
        self, folder: Path, left: float, held_out: int = 25, user: tuple[str, ...] = (),
        workers: int = 1, failing: tuple[str, ...] = (), max_epochs: int = 30, folds: int = 1,
    ) -> None:  # fmt: skip
        self.max_epochs, self.folds = max_epochs, folds
        subsets = {"train": torch.arange(100 - held_out), "valid": torch.arange(held_out)}
        if not held_out:
            del subsets["valid"]
        data = SimpleNamespace(subsets={})
        data.retrain_loaders = lambda: data.subsets.update(subsets)
        data.held_out_loader = lambda split, known: None  # no published validation split
        self.networks = {"family": SimpleNamespace(data=data, user_keys=set(user))}
        self.stopwatch, self.workers, self.failing = SimpleNamespace(left=left), workers, failing
        self.decisions = Decisions(folder / "decisions.json")
        self.messages: list[str] = []
        self.console = SimpleNamespace(info=self.messages.append)
        self.entries: list[tuple[Candidate, int]] = []

    def seconds_per_epoch(self, candidate: Candidate) -> float:
        return 2.0

    def train_candidates(self, entries: list[tuple[Candidate, int]], *, folds: int) -> list[Result]:
        assert folds == 1  # no samples are held out
        self.entries += entries
        return [
            Result(c, n, Path(f"{c.name}-again"), {}, float("nan"))
            for c, n in entries
            if c.name not in self.failing
        ]


def test_a_text_has_no_refit_since_its_validation_split_would_not_be_read(tmp_path: Path) -> None:
    """Without validation, only the selection of the best epoch would be missing."""
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("to be or not to be that is the question\n" * 300)
    overrides = ["task=language_model", "dataset=text", f"dataset.root={tmp_path}", "genotype=any"]
    data = make_data_module(compose("retrain", overrides), Ranks("cpu"))
    data.retrain_loaders()
    assert "valid" in data.subsets
    trainer: Any = FakeTrainer(tmp_path, left=10_000)
    trainer.networks = {"family": SimpleNamespace(data=data, user_keys=set())}
    assert refit_reserve(trainer, NET, networks=2) == 0
    chosen = Chosen(result(NET), result(BASELINE))
    assert refit(trainer, chosen) is chosen
    assert trainer.entries == []


@pytest.mark.parametrize(
    ("best", "epochs"), [(20, 20), (13, 13), (10, 10), (3, 10), (None, 20)]
)  # fmt: skip
def test_after_overfitting_it_ends_at_the_best_epoch_but_is_at_least_half_as_long(
    best: int | None, epochs: int
) -> None:
    assert repeated_epochs(result(NET, best), "accuracy", 60) == epochs
    assert repeated_epochs(result(NET, 1, epochs=19), "accuracy", 60) == 10


@pytest.mark.parametrize(
    ("last", "metric", "samples", "epochs"),
    [
        (0.44, "accuracy", 60, 20),  # the standard error is 0.065
        (0.43, "accuracy", 60, 12),
        (0.44, "accuracy", 600, 12),
        (0.49, "accuracy", 600, 20),
        (0.49, "perplexity", 600, 12),
        (None, "accuracy", 60, 12),
    ],
)
def test_a_last_epoch_that_is_as_good_by_a_standard_error_keeps_the_length(
    last: float | None, metric: str, samples: int, epochs: int, tmp_path: Path
) -> None:
    rows = [{"epoch": 19, f"valid_{metric}": 0.1}]
    rows += [] if last is None else [{"epoch": 20, f"valid_{metric}": last}]
    rows.append({"epoch": 20, "other": 1.0})
    with MetricsLog(tmp_path / "metrics.jsonl") as file:
        for row in rows:
            file.write(**row)
    trained = dataclasses.replace(result(NET, 12), directory=tmp_path)
    assert repeated_epochs(trained, metric, samples) == epochs


@pytest.mark.parametrize(
    ("options", "networks", "reserve"),
    [
        ({"left": 300}, 2, 80),  # 30 epochs of 2 seconds on a third more data
        ({"left": 300, "max_epochs": 300}, 2, 300 * 4 / 7),  # 2 and 2 * 4 / 3 trainings
        (
            {"left": 300, "max_epochs": 300, "workers": 2},
            3,
            300 * 4 / 10,
        ),  # twice one after the other, and 4 / 3
        (
            {"left": 900, "max_epochs": 300, "workers": 2, "folds": 5},
            3,
            900 * 4 / 28,
        ),  # 15 trainings on 2 workers, and 4 / 3
        ({"left": 270, "max_epochs": 300}, 2, 0),  # 29 epochs for each
        ({"left": 200}, 2, 0),  # more than 30 % of the time
        ({"left": 300, "held_out": 0}, 2, 0),
        ({"left": 300, "user": ("validation",)}, 2, 0),
        ({"left": 300, "user": ("validation_fold",)}, 2, 0),
        ({"left": 300, "user": ("selection",)}, 2, 0),
    ],
)
def test_time_is_reserved_if_it_is_cheap_or_the_final_is_long(
    options: dict[str, Any], networks: int, reserve: float, tmp_path: Path
) -> None:
    trainer: Any = FakeTrainer(tmp_path, **options)
    assert refit_reserve(trainer, NET, networks) == pytest.approx(reserve)


def test_both_networks_train_on_all_data_and_keep_their_scores(tmp_path: Path) -> None:
    trainer: Any = FakeTrainer(tmp_path, left=1000)
    chosen = refit(trainer, Chosen(result(NET, 20), result(BASELINE, 12)))
    assert [(c.name, c.setting.name, n) for c, n in trainer.entries] == [
        ("net", "default-refit", 20), ("plain", "default-refit", 12)
    ]  # fmt: skip
    for candidate, _ in trainer.entries:
        assert candidate.setting.values == {"validation": 0, "selection": "last"}
    assert (chosen.winner.directory, chosen.winner.refit_epochs) == (Path("net-again"), 20)
    assert (chosen.baseline.directory, chosen.baseline.refit_epochs) == (Path("plain-again"), 12)
    assert (chosen.winner.score, chosen.winner.epochs) == (0.5, 20)


def test_a_baseline_that_wins_trains_once(tmp_path: Path) -> None:
    trainer: Any = FakeTrainer(tmp_path, left=1000)
    best = result(BASELINE, 15)
    chosen = refit(trainer, Chosen(best, best, doubtful=result(NET)))
    assert [n for _, n in trainer.entries] == [15]
    assert chosen.winner == chosen.baseline
    assert chosen.doubtful == result(NET)


@pytest.mark.parametrize(
    ("left", "workers", "trains"), [(105, 1, False), (120, 1, True), (60, 2, True)]
)
def test_it_needs_time(left: float, workers: int, trains: bool, tmp_path: Path) -> None:
    # 20 epochs of 2 seconds on a third more data, and a second for the start, of two networks.
    trainer: Any = FakeTrainer(tmp_path, left=left, workers=workers)
    before = Chosen(result(NET), result(BASELINE))
    after = refit(trainer, before)
    assert (after != before) == bool(trainer.entries) == trains
    assert ("skipped" in trainer.messages[0]) != trains
    again: Any = FakeTrainer(tmp_path, left=0, workers=workers)  # the decision is saved
    assert refit(again, before) == after


def test_a_decision_about_other_networks_is_ignored(tmp_path: Path) -> None:
    trainer: Any = FakeTrainer(tmp_path, left=1000)
    trainer.decisions.record("epochs.refit", {"other.default.20": 5})
    before = Chosen(result(NET), result(BASELINE))
    assert refit(trainer, before) == before
    assert trainer.entries == []


def test_if_one_training_fails_both_networks_remain(tmp_path: Path) -> None:
    trainer: Any = FakeTrainer(tmp_path, left=1000, failing=("plain",))
    before = Chosen(result(NET), result(BASELINE))
    assert refit(trainer, before) == before
