"""Components: their options with limits, and the registries that find them by name."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darts.config import ConfigError, DeviceConfig, FindBudgetConfig, FindConfig
from darts.config.fields import check_fields
from darts.config.options import ArchOptimizerConfig, LimitConfig
from darts.data.split import HoldOutOptions
from darts.methods.collapse import CollapseChecks
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
    assert colors.COLORS["red"]().name == "red"
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

    with pytest.raises(
        ValueError, match=r"^color 'red' is already registered; choose another name$"
    ):
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
