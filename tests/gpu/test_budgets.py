"""Limits of the launches and synchronizations of a step, counted on a pretended GPU."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran")
BASE = ("epochs=1", "collapse.every=0", "tracking.figures=false", "tracking.tensorboard=false")
IMAGES = (*BASE, "dataset=synthetic", "dataset.samples=64", "loader.batch_size=8")
# The width does not change the number of launches.
PAPER = (*IMAGES, "space.channels=4", "space.cells=8")
CNN = (*IMAGES, "space.channels=4", "space.cells=2")
WITHOUT_WARMUP = "arch_optimizer.warmup=0"
NAS201 = (*IMAGES, "space=nas201", "space.channels=4", "space.cells=1")
MACRO = (*IMAGES, "space=macro", "space.channels=4")
LANGUAGE = (
    *(*BASE, "task=language_model", "dataset=text", "dataset.root=FOLDER/text"),
    *("space.embedding=12", "space.hidden=12", "task.window=5", "loader.batch_size=6"),
    "optimizer.lr=1.0",
)
TEXTS = (
    *(*BASE, "task=text_classification", "dataset=documents", "dataset.root=FOLDER/documents"),
    *("space.hidden=16", "loader.batch_size=8"),
)
TABLE = (
    *(*BASE, "dataset=csv", "dataset.root=FOLDER/table.csv", "dataset.label=kind"),
    *("space=mlp", "loader.batch_size=8"),
)

# By name: command, overrides, the largest number of launches, and the synchronizations.
Case = tuple[str, tuple[str, ...], int, int]
EVERYDAY: dict[str, Case] = {"cnn with two cells": ("search", CNN, 1_500, 0)}
# gdas draws operations on the device, and the CPU must know which ones to run: it waits once for
# each draw, in the architecture step and in the weight step. The launches depend on the operations.
MORE: dict[str, Case] = {
    "search network of the DARTS paper": ("search", PAPER, 5_600, 0),
    "nas201": ("search", NAS201, 1_200, 0),
    "search network of the paper in bfloat16": ("search", (*PAPER, "precision=bf16"), 6_700, 0),
    "recurrent": ("search", (*LANGUAGE, "space.nodes=4"), 2_540, 0),
    "cnn, second order": ("search", (*CNN, "method=darts_v2"), 5_300, 0),
    "cnn, exact product": ("search", (*CNN, "bilevel=unrolled", "bilevel.hvp=exact"), 10_500, 0),
    "cnn, penalty": ("search", (*CNN, "penalty.flops=1e6"), 1_700, 0),
    "cnn, drnas": ("search", (*CNN, "method=drnas", "epochs=2", WITHOUT_WARMUP), 1_900, 0),
    "cnn, anchor": ("search", (*CNN, "regularizer=anchor"), 1_600, 0),
    "cnn, gdas": ("search", (*CNN, "method=gdas"), 1_100, 2),
    "cnn, random sharing": ("search", (*CNN, "method=random_sharing"), 500, 0),
    "cnn, pc_darts": ("search", (*CNN, "method=pc_darts", WITHOUT_WARMUP), 1_900, 0),
    "nas201, drnas": ("search", (*NAS201, "method=drnas", "epochs=2", WITHOUT_WARMUP), 1_350, 0),
    "nas201, gdas": ("search", (*NAS201, "method=gdas"), 620, 2),
    "macro": ("search", MACRO, 890, 0),
    "mlp": ("search", TABLE, 270, 0),
    "recurrent, gdas": ("search", (*LANGUAGE, "space.nodes=4", "method=gdas"), 2_300, 2),
    "transformer": ("search", TEXTS, 660, 0),
    "transformer, gdas": ("search", (*TEXTS, "method=gdas"), 470, 2),
    "retraining": (
        "retrain",
        (*BASE[2:], *IMAGES[4:], "genotype=DARTS_V2", "space.channels=4", "space.cells=2"),
        400,
        0,
    ),
}

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a text, labeled texts and a table."""
    draw, folder = random.Random(0), tmp_path
    for name in ("text", "documents"):
        (folder / name).mkdir()
    for split, count in (("train", 120), ("valid", 60), ("test", 40)):
        lines = [" ".join(draw.choices(WORDS, k=6)) for _ in range(count)]
        (folder / "text" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        rows = [f"{'ab'[i % 2]},{' '.join(draw.choices(WORDS, k=5))}" for i in range(count)]
        if split != "valid":
            (folder / "documents" / f"{split}.csv").write_text("\n".join(["label,text", *rows]))
    rows = [f"{'xy'[i % 2]},{i % 7},{i % 5}" for i in range(120)]
    (folder / "table.csv").write_text("\n".join(["kind,a,b", *rows]))
    return folder


def run(cases: dict[str, Case], data: Path) -> dict[str, Any]:
    """Run commands on the pretended GPU; return what a step of each costs."""
    given = [
        (name, command, [item.replace("FOLDER", str(data)) for item in overrides])
        for name, (command, overrides, _, _) in cases.items()
    ]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_on_gpu.py")), str(data / "runs")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(cases: dict[str, Case], data: Path) -> None:
    results = run(cases, data)
    too_many = {
        name: (results[name]["launches"], results[name]["waits"])
        for name, (_, _, launches, waits) in cases.items()
        if results[name]["launches"] > launches or sum(results[name]["waits"].values()) > waits
    }
    assert not too_many, too_many
    assert all(result["launches"] > 100 for result in results.values())


def test_a_step_stays_within_its_launches_and_never_waits(data: Path) -> None:
    check(EVERYDAY, data)


@pytest.mark.slow
def test_steps_of_other_spaces_and_methods_stay_within_their_limits(data: Path) -> None:
    check(MORE, data)


@pytest.mark.slow
def test_a_run_on_the_gpu_has_the_scores_of_a_run_on_the_cpu(data: Path) -> None:
    import darts

    # The GPU has its own random numbers, so nothing may be dropped at random.
    dropouts = ("embedding", "input", "hidden", "output")
    language = (*LANGUAGE, *(f"space.{name}_dropout=0" for name in dropouts))
    cases: dict[str, Case] = {
        name: ("search", tuple(item.replace("FOLDER", str(data)) for item in overrides), 0, 0)
        for name, overrides in (("cnn", CNN), ("nas201", NAS201), ("recurrent", language))
    }
    results = run(cases, data)
    for name, (_, overrides, _, _) in cases.items():
        folder = data / f"cpu {name}"
        darts.search(overrides=[*overrides, "device=cpu"], out=folder)
        summary = json.loads((folder / "summary.json").read_text())
        expected = {key: summary[key] for key in results[name]["summary"]}
        assert results[name]["summary"] == pytest.approx(expected, abs=2e-3)
