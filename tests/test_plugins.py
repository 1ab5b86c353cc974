"""Installed plug-ins: the package in examples/plugin, and damaged ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from warm_python import WarmPython

from darts.reading import read_json_object

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("tracking.figures=false", "tracking.tensorboard=false")


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(warm_python: WarmPython) -> Run:
    """Runs a module as a program, with the packages in a folder."""

    def call(folder: Path, *words: str, plugin: Path) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(plugin), str(ROOT)])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return warm_python.run("-m", *words, folder=folder, environment=environment, timeout=300)

    return call


@pytest.fixture(scope="module")
def example(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the example is installed, built without a network."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(ROOT / "examples" / "plugin", folder / "source")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    done = run(folder, "pip", "install", *options, "--target", "site", str(source), plugin=folder)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.slow
def test_components_of_a_plugin_are_searched_and_retrained(
    run: Run, example: Path, tmp_path: Path
) -> None:
    """An operation, a relaxation, a method, a data set and a tracker.

    The exit codes 0 and 3 (worthless) are successes.
    """
    done = run(
        tmp_path, "darts.search", "dataset=rings", "method=tempered", "epochs=2",
        "space.candidates=[skip_connect,se_conv_3x3]", "space.channels=4", "space.cells=3",
        "tracking.trackers=[lines]", "hydra.run.dir=a", *SMALL, plugin=example,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    assert "result: valid_accuracy" in (tmp_path / "a" / "lines.txt").read_text()
    assert "relaxation:\n  name: tempered" in (tmp_path / "a" / "config.yaml").read_text()
    done = run(
        tmp_path, "darts.retrain", "genotype=a", "dataset=rings", "epochs=1", "space.channels=4",
        "space.cells=3", "auxiliary=0", "hydra.run.dir=b", *SMALL, plugin=example,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    assert "se_conv_3x3" in (tmp_path / "b" / "genotype.json").read_text()


@pytest.mark.slow
def test_a_space_of_a_plugin_is_tuned_by_worker_processes(
    run: Run, example: Path, tmp_path: Path
) -> None:
    done = run(
        tmp_path, "darts.tune", "parameters.genotype={space: chain}", "budget.trials=2",
        "workers=2", "base=['dataset=rings','space=chain','space.channels=4','space.cells=2',"
        "'epochs=1']", "strategy=random", "hydra.run.dir=t", plugin=example,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_json_object(tmp_path / "t" / "summary.json")["complete"] == 2


def test_the_help_lists_the_options_of_plugins(run: Run, example: Path, tmp_path: Path) -> None:
    text = run(tmp_path, "darts", "search", "--help", plugin=example).stdout
    assert all(re.search(rf"\b{name}\b", text) for name in ("rings", "tempered", "chain"))
    text = run(tmp_path, "darts", "search", "--help", plugin=tmp_path).stdout
    assert "rings" not in text


TAKEN_NAME = """
from darts.spaces.cnn.operations import register_operation

register_operation("none", int)
"""


@pytest.mark.parametrize(
    ("group", "value", "code", "message"),
    [
        ("darts.spaces", "broken", "import nothing_of_this_name",
         "plug-in thing (darts.spaces) of broken: ModuleNotFoundError: No module named"),
        pytest.param("darts.methods", "broken:missing", "", "module 'broken' has no attribute",
                     marks=pytest.mark.slow),
        pytest.param("darts.datasets", "broken:X", "X = 3", "the data set 3 of a plug-in is not",
                     marks=pytest.mark.slow),
        ("darts.conf", "broken.conf", "", "the package broken.conf has no folder"),
        pytest.param("darts.spaces", "broken",
                     TAKEN_NAME,
                     "the operation 'none' exists already", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_broken_plugin_ends_in_one_line(
    run: Run, group: str, value: str, code: str, message: str, tmp_path: Path
) -> None:
    """The installed package ``broken`` has one entry point."""
    (tmp_path / "broken.py").write_text(code)
    information = tmp_path / "broken-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[{group}]\nthing = {value}\n")
    done = run(tmp_path, "darts.search", "dataset=synthetic", "epochs=1", plugin=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
