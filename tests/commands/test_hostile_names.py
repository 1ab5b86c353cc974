"""Runs whose name, columns, classes and folders try to break terminals, figures and pages."""

from __future__ import annotations

import csv
import os
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import command_calls as commands
import numpy as np
import pytest
from PIL import Image

from darts.config.overrides import quoted

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")
NAME = "$\\frac$ \x1b[2J<script>alert(1)</script>|`=cmd()\u202e\udcff" + "x" * 150
COLUMNS = ("$\\frac$", "\x1b[31mred", "<script>", "a|b", "=cmd()", "y" * 200)
CLASSES = ("$\\frac$ \x1b[31m", "<b>|`", "=cmd()", "z" * 200)
NETWORK = ("space=mlp", 'genotype={"space": "mlp", "layers": ["relu_8"]}', "epochs=2")


def write_table(path: Path) -> Path:
    rng = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "label"])
        for row in range(80):
            number = row % len(CLASSES)
            writer.writerow([*(f"{rng.gauss(number, 1):.3f}" for _ in COLUMNS), CLASSES[number]])
    return path


def check_files(run: Path, out: str) -> None:
    """Check that all files of a retraining exist and that nothing dangerous reached an output."""
    files = ("summary.json", "model_card.md", "curves.png", "confusion_test.svg", "genotype.svg")
    for name in (*files, "metrics.jsonl", "env.json", "energy.json"):
        assert (run / name).is_file(), name
    assert not CONTROL.search(out)
    for name in ("confusion_test.svg", "genotype.svg"):
        ElementTree.parse(run / name)
    card = (run / "model_card.md").read_text(encoding="utf-8")
    assert not CONTROL.search(card)
    assert "<script" not in card.replace("\\<script", "")


def test_run_with_hostile_names_finishes_with_all_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table, run = write_table(tmp_path / "table.csv"), tmp_path / "run\udcff$\\frac$"
    arguments = ["dataset=csv", f"dataset.root={table}", *NETWORK, "loader.batch_size=16"]
    arguments += [f"name={quoted(NAME)}", f"hydra.run.dir={quoted(str(run))}"]
    out = commands.call("retrain", arguments).out
    check_files(run, out)
    page = tmp_path / "page.html"
    out = commands.call("report", [str(run), f"out={page}"]).out
    text = page.read_text(encoding="utf-8")
    assert not CONTROL.search(text)
    assert text.count("<script") == 1
    assert "\\x1b[2J" in text
    assert not CONTROL.search(out + "".join(capfd.readouterr()))


@pytest.mark.slow
def test_classes_in_folders_that_are_not_utf_8(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate((b"caf\xe9", b"$\\frac$", b"\x1b[31mred", b"=cmd()")):
        folder = os.fsencode(tmp_path / "images" / "train") + b"/" + name
        os.makedirs(folder)
        for index in range(20):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels // 2 + 30 * number).save(
                Path(os.fsdecode(folder)) / f"{index}.png"
            )
    (tmp_path / "images" / "train").rename(tmp_path / "classes")
    run = tmp_path / "run"
    arguments = ["dataset=imagefolder", f"dataset.root={tmp_path / 'classes'}", *NETWORK]
    arguments += ["loader.batch_size=16", "loader.workers=0", f"hydra.run.dir={run}"]
    check_files(run, commands.call("retrain", arguments).out)
