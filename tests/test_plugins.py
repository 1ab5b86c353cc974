"""Components with limits, registries that find them by name, and installed plug-ins."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from warm_python import WarmPython

from darts.config import ConfigError, DeviceConfig, FindBudgetConfig, FindConfig
from darts.config.fields import check_fields
from darts.config.options import ArchOptimizerConfig, LimitConfig
from darts.data.split import HoldOutOptions
from darts.methods.collapse import CollapseChecks
from darts.reading import read_json_object
from darts.registry import choice, number


@pytest.fixture
def colors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a package with a registry and two modules with one component each."""
    folder = tmp_path / "colors_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from darts.registry import Registry\nCOLORS = Registry('color', 'colors_of_a_test')\n"
    )
    for name in ("red", "blue"):
        (folder / f"{name}.py").write_text(
            "import dataclasses\nfrom colors_of_a_test import COLORS\n"
            "@COLORS.register\n@dataclasses.dataclass\n"
            f"class Color:\n    name: str = {name!r}\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    import colors_of_a_test  # type: ignore[import-not-found]

    yield colors_of_a_test
    for module in [name for name in sys.modules if name.startswith("colors_of_a_test")]:
        del sys.modules[module]


def test_registry_finds_every_module_of_the_package(colors: Any) -> None:
    assert "colors_of_a_test.red" not in sys.modules, "imported before first access"
    assert list(colors.COLORS) == ["blue", "red"]
    assert len(colors.COLORS) == 2
    assert "red" in colors.COLORS
    assert "green" not in colors.COLORS
    assert dict(colors.COLORS)["blue"] is sys.modules["colors_of_a_test.blue"].Color


def test_a_component_is_found_in_the_module_of_its_name(colors: Any) -> None:
    assert colors.COLORS["red"]().name == "red"
    assert "colors_of_a_test.blue" not in sys.modules
    assert ["red"] not in colors.COLORS


def test_unknown_name_raises_an_error_with_the_choices(colors: Any) -> None:
    with pytest.raises(ValueError, match=r"^unknown color 'green'; choose from blue, red$"):
        colors.COLORS["green"]


def test_duplicate_names_raise_an_error(colors: Any) -> None:
    red = colors.COLORS["red"]
    assert colors.COLORS.register(red) is red  # registering a class twice is allowed

    @dataclasses.dataclass
    class Scarlet:
        name: str = "red"

    message = r"^color 'red' is already registered; choose another name$"
    with pytest.raises(ValueError, match=message):
        colors.COLORS.register(Scarlet)
    assert colors.COLORS["red"] is red


def test_fields_check_choices_and_limits() -> None:
    @dataclasses.dataclass
    class Component:
        name: str = "component"
        mode: str = choice("slow", "slow", "fast")
        rate: float = number(0.5, above=0, high=1)
        betas: list[float] = number([0.5, 0.9], low=0, below=1)
        limit: int | None = number(None, low=0)

    check_fields(Component())
    assert Component().betas == [0.5, 0.9]
    assert Component().betas is not Component().betas, "instances share a list"
    for values, message in (
        ({"mode": "other"}, "mode='other' is unknown; choose from slow, fast"),
        ({"rate": 0.0}, "rate=0.0"),
        ({"rate": 1.5}, "rate=1.5"),
        ({"rate": float("nan")}, "rate=nan"),
        ({"betas": [0.5, 1.0]}, "betas=1.0"),
        ({"limit": -1}, "limit=-1"),
    ):
        with pytest.raises(ConfigError) as error_info:
            check_fields(Component(**values))  # type: ignore[arg-type]
        assert str(error_info.value).startswith(message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CollapseChecks(action="cure"), "action='cure' is unknown; choose from warn, stop"),
        (DeviceConfig(shape=[3, 0, 32]), "shape=0: must be >= 1"),
        (DeviceConfig(repeats=2), "repeats=2: must be >= 3"),
        (DeviceConfig(train=19), "train=19: must be >= 20"),
        (FindBudgetConfig(minutes=0), "minutes=0: must be > 0"),
        (FindConfig(workers=-1), "workers=-1: must be >= 1"),
        (FindConfig(export="onxx"), "export='onxx' is unknown; choose from none, onnx"),
        (LimitConfig(macs=0), "macs=0: must be > 0"),
        (HoldOutOptions(test_share=0), "test_share=0: must be > 0"),
        (ArchOptimizerConfig(betas=[0.5, 1.0]), "betas=1.0: must be >= 0 and < 1"),
    ],
)
def test_declared_limits_of_options(config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_fields(config)


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
def test_plugins_are_searched_and_retrained(run: Run, example: Path, tmp_path: Path) -> None:
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
def test_a_space_of_a_plugin_is_tuned_by_workers(run: Run, example: Path, tmp_path: Path) -> None:
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


TAKEN_NAME = "from darts.spaces.cnn import operations as o; o.register_operation('none', int)"


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
        pytest.param("darts.spaces", "broken", TAKEN_NAME, "the operation 'none' exists already",
                     marks=pytest.mark.slow),
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
