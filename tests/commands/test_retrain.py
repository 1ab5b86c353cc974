"""``python -m darts.retrain`` from the outside: what it writes, prints, chooses and returns."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import darts.recipes.retrain as retrain_recipe
from darts.config import RetrainConfig, rebuild
from darts.data import load_split
from darts.spaces import Genotype
from darts.spaces.cnn import PUBLISHED, Network
from darts.tracking import read_json

QUIET = "tracking.tensorboard=false"
V2 = "genotype=DARTS_V2"
CONTRACT = (
    *("config.yaml", "genotype.json", "metrics.jsonl", "summary.json", "env.json"),
    *("split.npz", "checkpoint.pt", "genotype.svg", "confusion_test.svg"),
    "model_card.md",
)


def test_the_files_of_a_run(retrained: Any) -> None:
    present = {file.name for file in retrained.directory.iterdir()}
    assert set(CONTRACT) <= present
    assert len([name for name in present if name.startswith("events.out.tfevents.")]) == 1
    assert not [name for name in present if name.endswith(".tmp")]
    text = (retrained.directory / "genotype.json").read_text(encoding="utf-8")
    assert Genotype.parse(text) == PUBLISHED["DARTS_V2"].genotype
    config = rebuild(
        RetrainConfig, yaml.safe_load((retrained.directory / "config.yaml").read_text())
    )
    # The genotype itself, not a name or a file that may change its meaning.
    assert Genotype.parse(config.genotype) == PUBLISHED["DARTS_V2"].genotype


def test_the_summary_is_flat(retrained: Any) -> None:
    summary = retrained.json("summary.json")
    assert not [key for key, value in summary.items() if isinstance(value, (dict, list))]
    for part in ("valid", "test"):
        for score in ("accuracy", "macro_f1", "top5_accuracy"):
            assert 0 <= summary[f"{part}_{score}"] <= 1
        assert summary[f"{part}_loss"] > 0
    assert summary["metric"] == "accuracy"
    assert 1 <= summary["epoch"] <= summary["epochs"] == 3
    assert summary["flops"] == 2 * summary["macs"] > 0
    net = Network(PUBLISHED["DARTS_V2"].genotype, channels=4, cells=3, classes=10, auxiliary=False)
    assert summary["parameters"] == sum(p.numel() for p in net.parameters())
    assert summary["seconds"] > 0
    assert {"joules", "joules_source", "seed", "git_revision", "device"} <= summary.keys()


def test_one_row_an_epoch(retrained: Any) -> None:
    rows = retrained.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["drop_path"] for row in rows] == pytest.approx([0, 0.2 / 3, 0.4 / 3])
    assert rows[0]["lr"] == pytest.approx(0.025)
    assert rows[0]["lr"] > rows[1]["lr"] > rows[2]["lr"] > 0
    for row in rows:
        assert math.isfinite(row["train_loss"])
        assert not [key for key in row if key.startswith("test")]


def test_the_best_epoch_by_validation_is_kept(retrained: Any) -> None:
    """The latest of the best ones, and its scores are those in the summary."""
    best = max(retrained.rows, key=lambda row: (row["valid_accuracy"], row["epoch"]))
    assert retrained.result["epoch"] == best["epoch"]
    assert retrained.result["valid_accuracy"] == best["valid_accuracy"]
    assert retrained.checkpoint["best"]["epoch"] == best["epoch"]


def test_validation_data_is_held_out(retrained: Any) -> None:
    split = load_split(retrained.directory / "split.npz")
    train, valid = set(split["train"].tolist()), set(split["valid"].tolist())
    assert len(valid) == 10  # the 10 % of each class, of 12 or 13 images, rounded
    assert not train & valid
    assert train | valid == set(range(128))


def test_what_tensorboard_shows(retrained: Any) -> None:
    board = EventAccumulator(str(retrained.directory), size_guidance={"tensors": 0})
    board.Reload()
    tags = board.Tags()
    assert {"genotype", "confusion"} <= set(tags["images"])
    wanted = {"loss/train", "loss/valid", "valid/accuracy", "lr/weights", "norm/grad"}
    assert wanted <= set(tags["scalars"])
    assert [event.step for event in board.Scalars("loss/train")] == [3, 6, 9]
    assert [tag for tag in tags["tensors"] if tag.startswith("genotype")]
    assert "_hparams_/experiment" in board.summary_metadata


def test_every_way_to_name_a_genotype(
    retrained: Any, searched: Any, commands: Any, tmp_path: Path
) -> None:
    """A name, a file, the directory of either command, the classic text, JSON."""
    genotype = PUBLISHED["SGAS"].genotype
    file = tmp_path / "mine.json"
    file.write_text(genotype.to_json(), encoding="utf-8")
    found = {
        "SGAS": genotype,
        "sgas": genotype,
        str(file): genotype,
        str(searched.directory): Genotype.parse(searched.result["genotype"]),
        str(retrained.directory): PUBLISHED["DARTS_V2"].genotype,
        str(genotype): genotype,
        genotype.to_json(): genotype,
    }
    for reference, expected in found.items():
        done = commands.run("retrain", None, f"genotype={reference}", "dry_run=true")
        # The number of weights tells the two genotypes apart.
        net = Network(expected, channels=4, cells=3, classes=10, auxiliary=False)
        assert done.result["parameters"] == sum(p.numel() for p in net.parameters())


def test_a_run_does_not_depend_on_the_file_it_came_from(commands: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(PUBLISHED["SGAS"].genotype.to_json(), encoding="utf-8")
    folder = tmp_path / "run"
    done = commands.run("retrain", folder, f"genotype={file}", "epochs=1", QUIET)
    file.unlink()
    again = tmp_path / "evaluated"
    given = [f"checkpoint={folder}", f"hydra.run.dir={again}"]
    result = commands.exactly("evaluate", given).result
    assert result["test_accuracy"] == done.result["test_accuracy"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("ema_decay=0.5", "label_smoothing=0.1"),
        ("averaging_patience=1", "epochs=4"),
        ("auxiliary=0", "cutout=0", "drop_path=0.5"),
        ("precision=bf16",),
        ("dataset.size=9", "dataset.channels=1", "dataset.classes=3", "auxiliary=0.4"),
        ("evaluate_test=false", "selection=last", "validation=0"),
    ],
)
def test_variations(commands: Any, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    done = commands.run("retrain", tmp_path / "run", V2, QUIET, "epochs=2", *overrides)
    assert math.isfinite(done.rows[-1]["train_loss"])
    assert ("test_accuracy" in done.result) == ("evaluate_test=false" not in overrides)
    assert ("valid_accuracy" in done.result) == ("validation=0" not in overrides)
    if "selection=last" in overrides:
        assert done.result["epoch"] == 2


def test_averaged_weights_are_the_ones_that_are_judged(commands: Any, tmp_path: Path) -> None:
    done = commands.run("retrain", tmp_path / "run", V2, QUIET, "ema_decay=0.9", "selection=last")
    chosen, trained = done.checkpoint["best"]["net"], done.checkpoint["net"]
    assert chosen.keys() == trained.keys()
    assert not commands.same(chosen, trained)
    plain = commands.run("retrain", tmp_path / "plain", V2, QUIET, "selection=last")
    # Averaging looks at the training and leaves it alone.
    assert commands.same(plain.checkpoint["net"], trained)
    assert commands.same(plain.checkpoint["best"]["net"], trained)


@pytest.mark.parametrize(("option", "alike"), [("auxiliary=0.4", False), ("auxiliary=0", True)])
def test_the_auxiliary_head(commands: Any, tmp_path: Path, option: str, alike: bool) -> None:
    done = commands.run("retrain", tmp_path / "run", V2, QUIET, "epochs=1", option)
    assert (not [name for name in done.checkpoint["net"] if "auxiliary" in name]) == alike


def test_the_metric_steers(commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each metric keeps the epoch that it prefers, the loss the lowest."""
    scripted = [
        {"accuracy": 0.5, "macro_f1": 0.1, "loss": 3.0},
        {"accuracy": 0.4, "macro_f1": 0.9, "loss": 2.0},
        {"accuracy": 0.3, "macro_f1": 0.2, "loss": 1.0},
    ]
    for metric, epoch in (("accuracy", 1), ("macro_f1", 2), ("loss", 3)):
        left = iter([*scripted, {"accuracy": 0.0}])
        monkeypatch.setattr(retrain_recipe, "evaluate", lambda *_, left=left, **__: next(left))
        done = commands.run("retrain", tmp_path / metric, V2, QUIET, "epochs=3", f"metric={metric}")
        assert done.result["epoch"] == epoch
        assert done.result["metric"] == metric
        assert done.result[f"valid_{metric}"] == scripted[epoch - 1][metric]
        assert done.result["test_accuracy"] == 0.0  # the last look, after all choices


def test_the_test_split_is_looked_at_once(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    real = retrain_recipe.evaluate

    def counting(net: Any, batches: Any, *rest: Any, **options: Any) -> Any:
        kept = list(batches)
        looks.append(sum(len(labels) for _, labels in kept))
        return real(net, kept, *rest, **options)

    monkeypatch.setattr(retrain_recipe, "evaluate", counting)
    commands.run("retrain", tmp_path / "run", V2, QUIET, "epochs=2")
    assert looks == [looks[0], looks[0], 128]  # two on validation data, then the test split
    assert looks[0] < 64


def test_the_seed_decides(commands: Any, tmp_path: Path) -> None:
    a, b, c = (
        commands.run("retrain", tmp_path / name, V2, QUIET, "drop_path=0.5", f"seed={seed}")
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    for key in ("net", "optimizer", "random", "best"):
        assert commands.same(a.checkpoint[key], b.checkpoint[key])
    assert commands.steps(a) == commands.steps(b)
    assert not commands.same(a.checkpoint["net"], c.checkpoint["net"])


def test_a_dry_run_leaves_nothing(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = commands.run("retrain", None, V2, "dry_run=true", "epochs=1000")
    for word in ("parameters", "macs", "peak_memory_mb", "estimated_time"):
        assert word in done.out
        assert word in done.result
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_in_the_same_place_is_refused(
    retrained: Any, commands: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(retrained.directory, folder)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    line = commands.refused("retrain", "dataset=synthetic", V2, f"hydra.run.dir={folder}")
    assert str(folder) in line
    assert "resume=" in line
    line = commands.refused("evaluate", f"checkpoint={folder}", f"hydra.run.dir={folder}")
    assert str(folder) in line
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_the_checkpoint_holds_plain_values(retrained: Any) -> None:
    saved = torch.load(retrained.directory / "checkpoint.pt", weights_only=True)
    assert {"net", "optimizer", "scaler", "epoch", "step", "random", "best"} <= saved.keys()
    assert (saved["kind"], saved["epoch"], saved["step"]) == ("retrain", 3, 0)


def test_a_run_that_diverges_tells_what_it_has_cost(commands: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = ["dataset=synthetic", "dataset.samples=64", "space=mlp", "epochs=2", "seed=0"]
    given += [QUIET, "tracking.figures=false", "loader.workers=0", f"hydra.run.dir={folder}"]
    given.append('genotype={"space":"mlp","layers":["relu_8"]}')
    line = commands.refused("retrain", *given, "optimizer.lr=1.0e30", "optimizer.clip=0")
    bill = read_json(folder / "diverged.json")
    assert bill["why"] in line
    assert bill["seconds"] > 0
    assert bill["joules"] >= 0
    assert bill["joules_source"] != "none"
    assert not (folder / "summary.json").exists()
