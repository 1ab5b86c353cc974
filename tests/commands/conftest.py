"""Fixtures of complete runs, and figures that stay blank."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from command_calls import LOUD, CommandResult, call, run
from PIL import Image


@pytest.fixture(autouse=True)
def _blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave figures blank and TensorBoard without figures, which take longer than a tiny epoch.

    Fixtures for several tests, tests that use the fixture ``drawn_figures`` and other processes
    draw them.
    """
    if "drawn_figures" in request.fixturenames:
        return
    if "matplotlib.figure" in sys.modules:
        monkeypatch.setattr("matplotlib.figure.Figure.draw", lambda *_: None)
    for module, function in (("search", "log_alphas"), ("retrain", "log_confusion")):
        if recipe := sys.modules.get(f"darts.recipes.{module}"):
            monkeypatch.setattr(recipe, function, lambda *_, **__: None)


@pytest.fixture
def drawn_figures() -> None:
    """Draw the figures of a test."""


@pytest.fixture(scope="session")
def search_run(tmp_path_factory: pytest.TempPathFactory) -> CommandResult:
    """A complete search with all its files."""
    return run("search", tmp_path_factory.mktemp("search") / "run", "seed=3", *LOUD)


@pytest.fixture(scope="session")
def retrain_run(tmp_path_factory: pytest.TempPathFactory) -> CommandResult:
    """A complete retraining with all its files."""
    folder = tmp_path_factory.mktemp("retrain") / "run"
    more = ("genotype=DARTS_V2", "epochs=3", "dataset.samples=128")
    return run("retrain", folder, *more, *LOUD)


@pytest.fixture(scope="session")
def evaluation_run(
    retrain_run: CommandResult, tmp_path_factory: pytest.TempPathFactory
) -> CommandResult:
    """An evaluation of the retraining on validation data."""
    folder = tmp_path_factory.mktemp("evaluation") / "with space"
    arguments = [f"checkpoint={retrain_run.directory}", "split=valid"]
    return call("evaluate", [*arguments, f"hydra.run.dir='{folder}'"], folder)


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
