"""Numbers and labels as targets, in every command."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import TensorDataset

import darts
from darts.data import load
from darts.data.targets import NUMBERS
from darts.reading import read_json
from darts.training.checkpoint import load_checkpoint, save_checkpoint

QUIET = ["tracking.figures=false", "tracking.tensorboard=false"]


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 200 rows whose price and size are nearly linear in three other columns."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(200, 3))
    price = 300_000 + 50_000 * (columns @ [1.0, 0.5, -0.5]) + rng.normal(size=200) * 5_000
    size = 90 + 20 * columns[:, 0]
    path: Path = tmp_path_factory.mktemp("houses") / "houses.csv"
    table = np.column_stack([price, columns, size])
    pd.DataFrame(table, columns=["price", *"abc", "size"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(houses: Path, commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was searched and retrained for two numbers."""
    folder: Path = tmp_path_factory.mktemp("trained")
    table = ["dataset=csv", f"dataset.root={houses}", "dataset.labels=[price,size]", "space=mlp"]
    words = ["task=regression", *table, "epochs=2", *QUIET, f"hydra.run.dir={folder / 'search'}"]
    search = commands.call("search", words)
    printed = commands.printed_arguments(search.out, "retrain")
    commands.call("retrain", [*printed, "epochs=15", *QUIET, f"hydra.run.dir={folder / 'retrain'}"])
    return folder / "retrain"


def test_scores_are_in_the_units_of_the_table(
    trained: Path, houses: Path, commands: Any, tmp_path: Path
) -> None:
    summary = read_json(trained / "summary.json")
    assert summary["test_r2"] > 0.8
    source = load("csv", root=houses, targets=NUMBERS, labels=["price", "size"])
    model = darts.load(trained)
    with torch.no_grad():
        found = model(source.test.pixels).double()
    true = source.scale.restore(source.test.labels.double())
    rmse = (found - true).square().mean(0).sqrt().mean()
    assert summary["test_rmse"] == pytest.approx(float(rmse), rel=1e-4)
    assert rmse > 1000  # the price counts
    evaluation = commands.run("evaluate", tmp_path / "evaluate", f"checkpoint={trained}")
    assert evaluation.result["test_mae"] == summary["test_mae"]


def test_predictions_are_numbers_of_the_table(
    trained: Path, houses: Path, commands: Any, tmp_path: Path
) -> None:
    commands.run("predict", tmp_path / "p", f"checkpoint={trained}", f"input={houses}")
    with (tmp_path / "p" / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["line", "price", "size"]
    with houses.open(newline="") as file:
        true = list(csv.DictReader(file))
    found = np.array(rows, dtype=float)
    assert np.corrcoef(found[:, 1], [float(row["price"]) for row in true])[0, 1] > 0.9
    predictions = darts.predict(trained, [{name: float(true[0][name]) for name in "abc"}])
    assert predictions.names == ("price", "size")
    assert predictions.values[0].tolist() == pytest.approx(found[0, 1:].tolist(), rel=1e-5)
    with pytest.raises(ValueError, match="predicts numbers, not classes"):
        _ = predictions.classes


@pytest.mark.parametrize("suffix", ["onnx", "safetensors"])
def test_an_exported_network_returns_numbers_of_the_table(
    suffix: str, trained: Path, commands: Any, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    commands.run("export", tmp_path / "x", f"checkpoint={trained}", f"format={suffix}")
    model, rows = darts.load(trained), torch.randn(4, 3, 1, 1)
    file = tmp_path / "x" / f"network.{suffix}"
    if suffix == "onnx":
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(["numbers"], {"samples": rows.numpy()})[0])
        description = read_json(tmp_path / "x" / "network.json")
        assert description["encoding"]["columns"] == ["a", "b", "c"]
    else:
        found = darts.load(file)(rows)
    torch.testing.assert_close(found, model(rows), rtol=1e-4, atol=1e-2)


@pytest.mark.slow
def test_numbers_of_different_units_are_exact_in_int8(
    trained: Path, commands: Any, tmp_path: Path
) -> None:
    """The drop of a metric that is not a fraction is relative."""
    onnxruntime = pytest.importorskip("onnxruntime")
    arguments = [f"checkpoint={trained}", "quantize=int8", "max_drop=0.05"]
    summary = commands.run("export", tmp_path / "x", *arguments).result
    own = commands.run("evaluate", tmp_path / "e", f"checkpoint={trained}", "split=valid").result
    before, after = summary["float_valid_r2"], summary["valid_r2"]
    assert before == pytest.approx(own["valid_r2"], rel=1e-5)
    assert summary["drop"] == pytest.approx((before - after) / before)
    file = tmp_path / "x" / "network.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    rows = torch.randn(64, 3, 1, 1)
    found = torch.from_numpy(session.run(["numbers"], {"samples": rows.numpy()})[0])
    with torch.no_grad():
        expected = darts.load(trained)(rows)
    errors = (found - expected).abs().mean(0) / expected.std(0)  # of the price and of the size
    assert (errors < 0.05).all()
    assert (errors > 0).all()


def test_a_changed_table_is_refused(
    trained: Path, houses: Path, commands: Any, tmp_path: Path
) -> None:
    """Its numbers would be standardized in another way."""
    header, *rows = houses.read_text().splitlines()
    changed = [f"{float(row.partition(',')[0]) + 1000},{row.partition(',')[2]}" for row in rows]
    other = tmp_path / "other.csv"
    other.write_text("\n".join([header, *changed]))
    error = commands.error_of("evaluate", f"checkpoint={trained}", f"root={other}")
    assert "targets would be encoded in another way" in error


def test_a_checkpoint_with_a_wrong_scale_is_refused(
    trained: Path, commands: Any, tmp_path: Path
) -> None:
    state = load_checkpoint(trained / "checkpoint.safetensors")
    scale = {"mean": (1.0, 2.0), "deviation": (0.0, 1.0)}
    file = tmp_path / "checkpoint.safetensors"
    save_checkpoint(file, "retrain", {**state, "target_scale": scale})
    line = commands.error_of("predict", f"checkpoint={file}", f"input={file}")
    assert "every deviation also positive" in line


@pytest.mark.slow
@pytest.mark.usefixtures("cwd")
def test_images_get_several_labels() -> None:
    """The left half of an image, the right half, both or none are bright."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (120, 2), generator=rng)
    halves = labels.float().repeat_interleave(4, 1)[:, None, None, :]
    images = 0.2 + 0.6 * halves + 0.1 * torch.randn(120, 1, 8, 8, generator=rng)
    images = images.clamp(0, 1)
    train, test = TensorDataset(images[:90], labels[:90]), TensorDataset(images[90:], labels[90:])
    train.classes = ["left", "right"]  # type: ignore[attr-defined]
    sizes = ["space.channels=4", "space.cells=1", "loader.batch_size=16", *QUIET]
    run = darts.search(
        data=(train, test), task="multi_label", space="nas201", epochs=1, overrides=sizes
    )
    assert run.history[-1]["valid_average_precision"] > 0
    trained = darts.retrain(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|",
        (train, test),
        task="multi_label",
        epochs=12,
        overrides=["dataset.padding=0", "optimizer.lr=0.02", "selection=last", *sizes],
    )
    assert trained.summary["test_average_precision"] > 0.9
    predictions = darts.predict(trained, images[90:])
    assert predictions.probabilities.shape == (30, 2)
    expected = [
        tuple(name for name, has in zip(("left", "right"), row, strict=True) if has)
        for row in labels[90:].tolist()
    ]
    right = sum(own == true for own, true in zip(predictions.labels, expected, strict=True))
    assert right / 30 == pytest.approx(trained.summary["test_exact_match"])
    assert right > 20


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=regression"], "task=regression predicts numbers, but dataset=digits has classes"),
        (
            ["task=multi_label", "dataset=fsdd"],
            "dataset=fsdd contains audio; choose dataset=npz or challenge or csv, or task=",
        ),
        (["task=regression", "dataset=csv"], "space=cnn takes images or audio"),
        (["task=regression", "metric=accuracy"], "metric='accuracy' is unknown; choose from r2"),
    ],
)
def test_other_data_is_refused(
    overrides: list[str], message: str, commands: Any, tmp_path: Path
) -> None:
    if "metric=accuracy" in overrides:
        overrides = [*overrides, "dataset=npz", f"dataset.root={tmp_path}"]
    assert message in commands.error_of("search", *overrides)
