"""``darts.evaluate``, and ``darts.predict`` on images, arrays and rows of a table."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import command_calls as commands
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_tasks import wine

import darts
from darts import evaluate
from darts.reading import read_json
from darts.recipes.sample_inputs import Preprocessing
from darts.spaces import Genotype
from darts.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def evaluation(retrain_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An evaluation with the command that the retraining printed."""
    arguments = commands.printed_arguments(retrain_run.out, "evaluate")
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    return commands.call("evaluate", [*arguments, f"hydra.run.dir={folder}"], folder)


def test_an_evaluation_repeats_the_test_scores(evaluation: Any, retrain_run: Any) -> None:
    scores = {k: v for k, v in retrain_run.result.items() if k.startswith("test_")}
    assert scores
    assert {k: evaluation.result[k] for k in scores} == scores
    for key in ("epoch", "genotype", "seed", "metric", "name"):
        assert evaluation.result[key] == retrain_run.result[key]
    assert evaluation.result["samples"] == 128


def test_the_run_directory_contains_all_files(evaluation: Any) -> None:
    present = {file.name for file in evaluation.directory.iterdir()}
    assert {"config.yaml", "genotype.json", "summary.json", "env.json", "confusion.svg"} <= present
    summary = evaluation.json("summary.json")
    assert summary == evaluation.result
    assert not [key for key, value in summary.items() if isinstance(value, (dict, list))]
    assert {"seconds", "joules", "joules_source", "git_revision", "device"} <= summary.keys()
    text = (evaluation.directory / "genotype.json").read_text(encoding="utf-8")
    assert str(Genotype.parse(text)) == summary["genotype"]
    assert f"{100 * summary['test_accuracy']:.2f}" in evaluation.out


def test_a_file_batch_size_and_precision_can_be_chosen(retrain_run: Any, tmp_path: Path) -> None:
    file = retrain_run.directory / "checkpoint.safetensors"
    arguments = [f"checkpoint={file}", "batch_size=7", "precision=bf16"]
    done = commands.call("evaluate", [*arguments, f"hydra.run.dir={tmp_path / 'run'}"])
    assert abs(done.result["test_accuracy"] - retrain_run.result["test_accuracy"]) < 0.1
    assert done.result["samples"] == 128


def test_validation_data_need_the_split_file_which_is_read_before_the_data(
    retrain_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights.safetensors"
    shutil.copy(retrain_run.directory / "checkpoint.safetensors", file)
    done = commands.run("evaluate", tmp_path / "test", f"checkpoint={file}")
    assert done.result["test_accuracy"] == retrain_run.result["test_accuracy"]
    unexpected = Mock(side_effect=AssertionError("the data was read"))
    monkeypatch.setattr(evaluate, "open_data", unexpected)
    assert "split.npz" in commands.error_of("evaluate", f"checkpoint={file}", "split=valid")


def test_validation_scores_are_repeated(retrain_run: Any, evaluation_run: Any) -> None:
    scores = {k: v for k, v in retrain_run.result.items() if k.startswith("valid_")}
    assert {k: evaluation_run.result[k] for k in scores} == scores
    assert evaluation_run.result["samples"] == 10
    assert not [key for key in evaluation_run.result if key.startswith("test")]


def test_a_killed_evaluation_has_all_files_but_its_summary_and_can_be_repeated(
    retrain_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    arguments = [f"checkpoint={retrain_run.directory}", f"hydra.run.dir={folder}"]
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "finish", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            commands.call("evaluate", arguments)
    written = {file.name for file in folder.iterdir()}
    assert {"confusion.svg", "genotype.json", "env.json", "config.yaml"} <= written
    assert "summary.json" not in written
    commands.call("evaluate", arguments)
    assert (folder / "summary.json").exists()
    assert "already holds a run" in commands.error_of("evaluate", *arguments)
    assert "already holds a run" in commands.error_of("export", *arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("trained")
    small = ["genotype=DARTS_V2", "space.channels=4", "space.cells=2", "auxiliary=0", "epochs=1"]
    commands.run("retrain", folder, *small)
    return folder


def test_a_folder_or_file_becomes_a_table(trained: Path, photos: Path, tmp_path: Path) -> None:
    arguments = (f"checkpoint={trained}", f"input={photos}", "batch_size=2")
    run = commands.run("predict", tmp_path / "p", *arguments)
    with (tmp_path / "p" / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    model = darts.load(trained)
    assert header == ["file", "class", *(f"probability of {name}" for name in model.classes)]
    files = sorted(file for file in photos.rglob("*") if file.suffix in (".png", ".bmp"))
    assert [row[0] for row in rows] == [str(file) for file in files]
    expected = darts.predict(model, files)
    assert tuple(row[1] for row in rows) == expected.classes
    actual = np.array([[float(value) for value in row[2:]] for row in rows])
    np.testing.assert_allclose(actual, expected.probabilities.numpy(), atol=1e-5)
    assert run.result["samples"] == 5


def test_wrong_inputs_end_in_one_line(trained: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    line = commands.error_of("predict", f"checkpoint={trained}", f"input={tmp_path}/empty")
    assert "must be an image file or a folder with images (.png, .jpg" in line
    (photos / "bad.png").write_bytes(b"no image")
    line = commands.error_of("predict", f"checkpoint={trained}", f"input={photos}")
    assert "cannot read the image" in line
    assert "bad.png" in line


def test_an_output_that_is_the_input_is_refused(trained: Path, photos: Path) -> None:
    place, checkpoint = photos / "0.bmp", f"checkpoint={trained}"
    before = place.read_bytes()
    line = commands.error_of("predict", checkpoint, f"input={place}", f"output={place}")
    assert "is part of the input or the checkpoint, which would be overwritten" in line
    assert place.read_bytes() == before
    for target in (place, trained / "checkpoint.safetensors"):
        line = commands.error_of("predict", checkpoint, f"input={photos}", f"output={target}")
        assert "would be overwritten" in line


@pytest.mark.parametrize("margin", [1.0, 256 / 224])
def test_an_image_is_processed_equally_in_every_form(tmp_path: Path, margin: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    transform = Preprocessing((3, 8, 8), (0.5,) * 3, (0.2,) * 3, margin)
    expected = transform(tmp_path / "a.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for image in (Image.open(tmp_path / "a.png"), pixels, tensor, tensor.float() / 255):
        assert transform(image).equal(expected)
    small = pixels[:8, :8]
    assert transform(small).equal(Preprocessing((3, 8, 8), (0.5,) * 3, (0.2,) * 3)(small))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "must be a file, an array or a tensor, not NoneType"),
        (np.zeros((1, 8, 8), np.uint8), "of shape (1, 8, 8) does not have 3 channels"),
        (torch.zeros(3, 0, 0), "of shape (3, 0, 0) does not have 3 channels"),
        (np.zeros((8, 8), np.uint8), "of shape (8, 8) does not have 3 channels"),
    ],
)
def test_wrong_images_are_refused(image: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Preprocessing((3, 8, 8), (0.5,) * 3, (0.2,) * 3)(image)


# Other samples than images. The test scores of the training show that the inputs are equal.

SMALL = ("tracking.tensorboard=false", "tracking.figures=false", "epochs=3", "seed=1")
MLP = ("space=mlp", 'genotype={"space": "mlp", "layers": ["relu_16"]}')
WITHOUT_RISE = "optimizer.warmup_epochs=0"


def predictions(run: Path, place: Path, folder: Path) -> list[dict[str, str]]:
    """Return the rows of the table that the command writes."""
    commands.run("predict", folder, f"checkpoint={run}", f"input={place}", "batch_size=7")
    return commands.read_table(folder / "predictions.csv")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with the wine data of scikit-learn, and a network trained on it."""
    folder = tmp_path_factory.mktemp("table")
    rows = wine()
    rows[::2].to_csv(folder / "train.csv", index=False)
    rows[1::2].to_csv(folder / "test.csv", index=False)
    keys = ("dataset=csv", f"dataset.root={folder}", "dataset.bins=4", *MLP, *SMALL, WITHOUT_RISE)
    commands.call("retrain", [*keys, f"hydra.run.dir={folder}/run"])
    return folder, folder / "run"


def test_rows_get_the_classes_of_the_evaluation(
    table: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run = table
    found = predictions(run, folder / "test.csv", tmp_path / "p")
    truth = [row["cultivar"] for row in commands.read_table(folder / "test.csv")]
    assert [row["line"] for row in found] == [str(number + 2) for number in range(len(truth))]
    accuracy = np.mean([row["class"] == name for row, name in zip(found, truth, strict=True)])
    summary = read_json(run / "summary.json")
    assert accuracy == pytest.approx(summary["test_accuracy"])
    assert accuracy > 0.8
    content = (folder / "test.csv").read_text().encode("utf-16")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert predictions(run, Path("-"), tmp_path / "q") == found


def test_arrays_get_the_classes_of_the_evaluation(tmp_path: Path) -> None:
    """Sequences of numbers, from both kinds of files and from Python."""
    generator = np.random.default_rng(0)
    numbers = {split: generator.normal(500, 9, (200, 2, 12)) for split in ("train", "test")}
    for split, own in numbers.items():
        np.save(tmp_path / f"{split}_x.npy", own)
        np.save(tmp_path / f"{split}_y.npy", own[:, 0].mean(1) > 500)
    np.savez(tmp_path / "new.npz", images=numbers["test"][:, :, None])
    words = ("dataset=challenge", f"dataset.root={tmp_path}", "dataset.axes=NCL", *MLP, *SMALL)
    run = tmp_path / "run"
    trained = commands.call("retrain", [*words, WITHOUT_RISE, f"hydra.run.dir={run}"])
    found = predictions(run, tmp_path / "test_x.npy", tmp_path / "p")
    assert found == predictions(run, tmp_path / "new.npz", tmp_path / "q")
    assert [row["index"] for row in found] == list(map(str, range(200)))
    classes = [row["class"] for row in found]
    truth = numbers["test"][:, 0].mean(1) > 500
    accuracy = np.mean(np.array(classes) == truth.astype(int).astype(str))
    assert accuracy == pytest.approx(trained.result["test_accuracy"])
    assert accuracy > 0.8
    assert darts.predict(run, numbers["test"]).classes == tuple(classes)
    for sample, message in (
        (tmp_path / "a.png", "the network takes arrays of numbers, not pictures"),
        (np.full((2, 12), np.nan), "an array must have finite numbers only"),
    ):
        with pytest.raises(ValueError, match=message):
            darts.predict(run, [sample])


def test_columns_may_be_more_and_in_another_order(table: tuple[Path, Path], tmp_path: Path) -> None:
    folder, run = table
    rows = commands.read_table(folder / "test.csv")[:9]
    names = ["name", *reversed([name for name in rows[0] if name != "cultivar"])]
    with (tmp_path / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=";", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({"name": "text", **row} for row in rows)
    found = predictions(run, tmp_path / "new.csv", tmp_path / "p")
    model = darts.load(run)
    columns = model.transform.encoding.names
    mappings: list[Mapping[str, float]] = [{n: float(row[n]) for n in columns} for row in rows]
    expected = darts.predict(model, mappings)
    assert [row["class"] for row in found] == list(expected.classes)
    values = torch.tensor([list(row.values()) for row in mappings], dtype=torch.float64)
    for samples in (values, values.numpy(), values.tolist()):
        assert darts.predict(model, samples).probabilities.equal(expected.probabilities)
    assert darts.predict(run, mappings[0]).classes == expected.classes[:1]


def test_other_tables_are_refused(table: tuple[Path, Path], tmp_path: Path) -> None:
    """Other training rows would be standardized in another way."""
    folder, run = table
    (tmp_path / "test.csv").write_bytes((folder / "test.csv").read_bytes())
    lines = (folder / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join(lines[:-3]) + "\n")
    line = commands.error_of("evaluate", f"checkpoint={run}", f"root={tmp_path}")
    assert "would be encoded in another way than in the training" in line
    new = tmp_path / "new.csv"
    new.write_text("alcohol\n1\n")
    line = commands.error_of("predict", f"checkpoint={run}", f"input={new}")
    assert "has no column 'malic_acid' of the training table" in line


def test_rows_may_lack_values_and_must_fit_otherwise(table: tuple[Path, Path]) -> None:
    """A missing number counts as the mean of the training rows."""
    model = darts.load(table[1])
    means = {column.name: column.mean[0] for column in model.transform.encoding.used}
    lacking = [dict.fromkeys(means), dict.fromkeys(means, float("nan"))]
    alone = [darts.predict(model, [row]).probabilities[0] for row in lacking]
    assert alone[0].equal(alone[1])
    found = darts.predict(model, [*lacking, means])
    for row in (0, 1):  # positions in a batch may be rounded in another way
        torch.testing.assert_close(found.probabilities[row], alone[row])
        torch.testing.assert_close(found.probabilities[row], found.probabilities[2])
    cases: list[tuple[object, str]] = [
        ([1.0] * 12, "a row must have 13 values, not 12"),
        ([1e300] * 13, "column 'alcohol': '1e+300' is too large to standardize"),
        ({"alcohol": 1.0}, "the row has no column 'malic_acid'"),
        ([float("inf")] * 13, "column 'alcohol': 'inf' is not finite"),
        ("x" * 13, "a row must be a mapping or a sequence, not str"),
    ]
    for row, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)):
            darts.predict(model, [row])
