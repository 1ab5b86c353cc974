"""The wheel holds what the checkout holds, and works from any folder."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel built from this checkout."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", str(place), str(ROOT)),
        ],
        check=True,
    )
    (wheel,) = place.glob("darts_nas-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def test_the_wheel_holds_every_module_and_every_yaml(unpacked: Path) -> None:
    for kind, top in (("*.py", "darts"), ("*.yaml", "conf")):
        for file in (ROOT / top).rglob(kind):
            inside = file.relative_to(ROOT)
            place = unpacked / (Path("darts") / inside if top == "conf" else inside)
            assert place.is_file(), inside
    assert (unpacked / "darts" / "py.typed").is_file()


def test_an_installed_command_runs_from_any_folder(unpacked: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    where = subprocess.run(
        [sys.executable, "-c", "from darts.config.store import conf_folder as f; print(f())"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()) == unpacked / "darts" / "conf"
    ran = subprocess.run(
        [sys.executable, "-m", "darts.search", "dataset=synthetic", "dry_run=true"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "estimated_time" in ran.stdout


def test_console_scripts_lead_to_functions() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    for script in scripts:
        name, target = (part.strip() for part in script.split("="))
        module, function = target.split(":")
        assert name == module.replace(".", "-")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
    assert {script.split("=")[0].strip() for script in scripts} == {
        f"darts-{command}"
        for command in (
            *("search", "retrain", "evaluate", "tune", "study", "export", "genotypes", "report"),
        )
    }
