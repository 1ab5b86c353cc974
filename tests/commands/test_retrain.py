"""``darts retrain``: its files, its output, its choices and its summary."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import yaml
from end_states import identical

import darts.recipes.retrain as retrain_recipe
from darts.config import RetrainConfig, rebuild
from darts.spaces import Genotype
from darts.spaces.cnn import PUBLISHED, Network

V2 = "genotype=DARTS_V2"
SMALL_MLP = ("space=mlp", 'genotype={"space": "mlp", "layers": ["relu_8"]}')


def test_the_run_directory_contains_all_files(retrain_run: Any) -> None:
    commands.assert_files(retrain_run, "confusion_test.svg", "model_card.md")
    text = (retrain_run.directory / "genotype.json").read_text(encoding="utf-8")
    assert Genotype.parse(text) == PUBLISHED["DARTS_V2"].genotype
    text = (retrain_run.directory / "config.yaml").read_text(encoding="utf-8")
    config = rebuild(RetrainConfig, yaml.safe_load(text))
    # The configuration contains the genotype itself, because a file may change.
    assert Genotype.parse(config.genotype) == PUBLISHED["DARTS_V2"].genotype


def test_the_summary_is_flat(retrain_run: Any) -> None:
    summary = retrain_run.json("summary.json")
    assert not [key for key, value in summary.items() if isinstance(value, (dict, list))]
    for split in ("valid", "test"):
        for score in ("accuracy", "macro_f1", "top5_accuracy"):
            assert 0 <= summary[f"{split}_{score}"] <= 1
        assert summary[f"{split}_loss"] > 0
    assert summary["metric"] == "accuracy"
    assert 1 <= summary["epoch"] <= summary["epochs"] == 3
    assert summary["flops"] == 2 * summary["macs"] > 0
    net = Network(PUBLISHED["DARTS_V2"].genotype, channels=4, cells=3, classes=10, auxiliary=False)
    assert summary["parameters"] == sum(p.numel() for p in net.parameters())
    assert summary["seconds"] > 0
    assert {"joules", "joules_source", "seed", "git_revision", "device"} <= summary.keys()


def test_a_retraining_writes_one_row_per_epoch(retrain_run: Any) -> None:
    rows = retrain_run.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["drop_path"] for row in rows] == pytest.approx([0, 0.2 / 3, 0.4 / 3])
    assert rows[0]["lr"] == pytest.approx(0.025)
    assert rows[0]["lr"] > rows[1]["lr"] > rows[2]["lr"] > 0
    for row in rows:
        assert math.isfinite(row["train_loss"])
        assert not [key for key in row if key.startswith("test")]


def test_tensorboard_shows_metrics_figures_and_hyperparameters(retrain_run: Any) -> None:
    board = retrain_run.board
    tags = board.Tags()
    assert {"genotype", "confusion"} <= set(tags["images"])
    expected = {"loss/train", "loss/valid", "accuracy/valid", "lr/weights", "norm/grad"}
    assert expected <= set(tags["scalars"])
    assert [event.step for event in board.Scalars("loss/train")] == [3, 6, 9]
    assert [tag for tag in tags["tensors"] if tag.startswith("genotype")]
    assert "_hparams_/experiment" in board.summary_metadata


@pytest.mark.parametrize(
    "overrides",
    [
        ("average_power=2", "label_smoothing=0.1"),
        pytest.param(("averaging_patience=1", "epochs=4"), marks=pytest.mark.slow),
        pytest.param(("precision=bf16",), marks=pytest.mark.slow),
        ("dataset.size=9", "dataset.channels=1", "dataset.classes=3", "auxiliary=0.4"),
        ("evaluate_test=false", "selection=last", "validation=0"),
    ],
)
def test_retrainings_support_sizes_and_options(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    done = commands.run("retrain", tmp_path / "run", V2, "epochs=2", *overrides)
    assert math.isfinite(done.rows[-1]["train_loss"])
    assert ("test_accuracy" in done.result) == ("evaluate_test=false" not in overrides)
    assert ("valid_accuracy" in done.result) == ("validation=0" not in overrides)
    if "selection=last" in overrides:
        assert done.result["epoch"] == 2


def test_averaged_weights_are_scored_and_do_not_influence_the_training(tmp_path: Path) -> None:
    own = (V2, "selection=last", "epochs=2")
    done = commands.run("retrain", tmp_path / "run", *own, "average_power=2")
    selected, trained = done.checkpoint["best"]["net"], done.checkpoint["net"]
    assert selected.keys() == trained.keys()
    assert not identical(selected, trained)
    plain = commands.run("retrain", tmp_path / "plain", *own)
    assert identical(plain.checkpoint["net"], trained)
    assert identical(plain.checkpoint["best"]["net"], trained)


def test_the_metric_selects_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The highest F1 score is the best, and the lowest loss; test_pitfalls has the accuracy."""
    scores = [
        {"accuracy": 0.5, "macro_f1": 0.1, "loss": 3.0},
        {"accuracy": 0.4, "macro_f1": 0.9, "loss": 2.0},
        {"accuracy": 0.3, "macro_f1": 0.2, "loss": 1.0},
    ]
    for metric, epoch in (("macro_f1", 2), ("loss", 3)):
        remaining = iter([*scores, {"accuracy": 0.0}])
        monkeypatch.setattr(retrain_recipe, "evaluate", lambda *_, it=remaining, **__: next(it))
        own = (*SMALL_MLP, "epochs=3", f"metric={metric}")
        done = commands.run("retrain", tmp_path / metric, *own)
        assert done.result["epoch"] == epoch
        assert done.result["metric"] == metric
        assert done.result[f"valid_{metric}"] == scores[epoch - 1][metric]
        assert done.result["test_accuracy"] == 0.0  # scored last


TINY = commands.TINY["retrain"]
WARMUP = (*TINY, *SMALL_MLP, "loader.batch_size=8", "epochs=3", "warmup=0.4")
WARMUP += ("optimizer.lr_min=0.001",)


def test_a_warm_up_sets_the_rate_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """6 steps per epoch: the rate rises in the first 7 of 18 steps, and falls in the other 11."""
    rates: list[float] = []
    original = retrain_recipe.optimizer_steps

    def record(loss: Any, updates: Any, *rest: Any, **options: Any) -> Any:
        ((optimizer, _),) = updates
        rates.append(optimizer.param_groups[0]["lr"])
        return original(loss, updates, *rest, **options)

    monkeypatch.setattr(retrain_recipe, "optimizer_steps", record)
    folder = tmp_path / "run"
    done = commands.call("retrain", [*WARMUP, f"hydra.run.dir={folder}"], folder)
    rise = [0.025 * step / 8 for step in range(1, 8)]
    fall = [0.001 + 0.024 * math.cos(math.pi / 2 * step / 11) ** 2 for step in range(11)]
    assert rates == pytest.approx([*rise, *fall])
    assert [row["lr"] for row in done.rows] == [rates[5], rates[11], rates[17]]


def test_a_warm_up_that_is_killed_continues_with_the_same_result(tmp_path: Path) -> None:
    """The run ends in the fourth of 7 steps in which the rate rises."""
    commands.assert_resume_is_exact("retrain", WARMUP, tmp_path, steps=3)


def test_restarts_lower_all_rates_of_a_warm_up(tmp_path: Path) -> None:
    done = commands.run("retrain", tmp_path / "run", *DIVERGING, "warmup=0.01", "epochs=1")
    count = done.result["restarts"]
    assert count > 0
    falling = done.rows[0]["step"] - 1  # the rate rises in the first step
    cosine = math.cos(math.pi / 2 * (falling - 1) / falling) ** 2
    assert done.checkpoint["config"]["optimizer"]["lr_min"] == 0
    assert done.rows[0]["lr"] == pytest.approx(0.3**count * 10 * cosine)


DIVERGING = (
    *(*SMALL_MLP, "space.normalization=none", "epochs=3", "loader.workers=0"),
    *("loader.batch_size=4", "optimizer.lr=10", "optimizer.clip=0"),
)


def test_a_training_that_diverges_restarts_at_a_lower_rate(tmp_path: Path) -> None:
    done = commands.run("retrain", tmp_path / "run", *DIVERGING)
    assert done.result["restarts"] == done.checkpoint["restarts"] == 3
    assert done.out.count("at 0.3 times the learning rate") == 3
    assert "train_loss rose from" in done.out
    rates = [row["lr"] for row in done.rows]
    assert [row["epoch"] for row in done.rows] == [1, 2, 3]
    assert rates[0] == pytest.approx(0.3**3 * 10)
    assert not (done.directory / "diverged.json").exists()


def test_a_restarted_training_that_is_killed_continues_with_the_same_result(tmp_path: Path) -> None:
    """It is killed after the last restart: the three attempts before have up to 13 steps each."""
    commands.assert_resume_is_exact("retrain", (*TINY, *DIVERGING), tmp_path, steps=40)
