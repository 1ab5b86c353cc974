"""The wheel contains all files, works in any folder and has complete metadata."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from warm_python import WarmPython

from darts.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel of this checkout, built in a copy without files of earlier builds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("darts", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("darts_nas-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_python(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_contains_every_module_template_and_yaml_file(unpacked: Path) -> None:
    patterns = {"*.py": "darts", "templates/*": "darts", "shell/*": "darts", "*.yaml": "conf"}
    for pattern, top in patterns.items():
        for file in (ROOT / top).rglob(pattern):
            inside = file.relative_to(ROOT)
            place = unpacked / (Path("darts") / inside if top == "conf" else inside)
            assert place.is_file(), inside
    assert (unpacked / "darts" / "py.typed").is_file()


def test_an_installed_command_runs_in_any_folder(
    unpacked: Path, warm_python: WarmPython, tmp_path: Path
) -> None:
    code = "from darts.search import *; import darts.plugins as p; print(p.conf_folder()); main()"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    words = (code, "dataset=synthetic", "dry_run=true")
    done = warm_python.run("-c", *words, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    folder, _, out = done.stdout.partition("\n")
    assert Path(folder) == unpacked / "darts" / "conf"
    assert "estimated_time" in out


def test_the_files_of_the_time_series_library_are_noticed(unpacked: Path, tmp_path: Path) -> None:
    mixture = tmp_path / "site"
    shutil.copytree(unpacked, mixture)
    (mixture / "darts" / "timeseries.py").touch()
    done = run_python(mixture, tmp_path, "-m", "darts.search")
    assert done.returncode != 0
    assert "install darts-nas in an environment of its own" in done.stderr.splitlines()[-1]


PROGRAM = """
import json, sys
import darts

print(darts.__file__)
for block in json.loads(sys.argv[1]):
    exec(block, {"__name__": "__main__"})
"""


@pytest.mark.slow
def test_the_programs_of_the_pages_run_from_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    """The code blocks of README.md and docs/, as written, without the checkout."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [
        block
        for page in pages
        for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ]
    assert sum("darts.search(" in block for block in blocks) >= 2
    done = run_python(unpacked, tmp_path, "-W", "error", "-c", PROGRAM, json.dumps(blocks))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).parent == unpacked / "darts"


def test_every_command_has_a_console_script() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    names = set()
    for script in scripts:
        name, target = (side.strip() for side in script.split("="))
        module, function = target.split(":")
        assert name == module.removesuffix(".__main__").replace(".", "-")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
        names.add(name)
    assert names == {"darts", *(f"darts-{command}" for command in COMMANDS)}
