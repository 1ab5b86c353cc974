"""The command that classifies image files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import darts


@pytest.fixture(scope="module")
def trained(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("trained")
    small = ["genotype=DARTS_V2", "space.channels=4", "space.cells=2", "auxiliary=0", "epochs=1"]
    commands.run("retrain", folder, *small, "tracking.tensorboard=false")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images of several sizes and formats, and a text file."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(5):
        pixels = generator.integers(0, 256, (8 + number, 8, 3), dtype=np.uint8)
        place = folder / "more" if number > 2 else folder
        Image.fromarray(pixels).save(place / f"{number}.{'png' if number % 2 else 'bmp'}")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_of_images_becomes_a_table(
    commands: Any, trained: Path, photos: Path, tmp_path: Path
) -> None:
    run = commands.call(
        "predict",
        [f"checkpoint={trained}", f"input={photos}", "batch_size=2", f"hydra.run.dir={tmp_path}/p"],
        tmp_path / "p",
    )
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
    assert run.result["images"] == 5


def test_one_file_and_a_chosen_output(
    commands: Any, trained: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "table.csv"
    arguments = [f"checkpoint={trained}", f"input={photos / '0.bmp'}", f"output={output}"]
    commands.call("predict", [*arguments, f"hydra.run.dir={tmp_path}/p"])
    assert len(output.read_text().splitlines()) == 2


def test_wrong_inputs_end_in_one_line(
    commands: Any, trained: Path, photos: Path, tmp_path: Path
) -> None:
    where = f"hydra.run.dir={tmp_path}/p"
    line = commands.error_of("predict", f"checkpoint={trained}", f"input={tmp_path}/none", where)
    assert "must be an image file or a folder with images (.png, .jpg" in line
    (photos / "bad.png").write_bytes(b"no image")
    line = commands.error_of("predict", f"checkpoint={trained}", f"input={photos}", where)
    assert "cannot read the image" in line
    assert "bad.png" in line
    line = commands.error_of("predict", f"checkpoint={tmp_path}/x", f"input={photos}", where)
    assert "neither a checkpoint file" in line
