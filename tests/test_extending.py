"""The additions of docs/extending.md, applied to a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from warm_python import WarmPython

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:py|yaml)\n# ([\w/.]+)(?:, after: ([^\n]*))?\n(.*?)```", PAGE, re.DOTALL)
SMALL = ("epochs=2", "space.channels=4", "space.cells=2", "device=cpu")
CALL = """
import importlib, json, sys
from darts.config import launch

codes = []
for command, *arguments in json.loads(sys.argv[1]):
    module = importlib.import_module(f"darts.{command}")
    try:
        launch(command, module.check, getattr(module, command), arguments)
        codes.append(0)
    except SystemExit as error:
        codes.append(error.code)
print(json.dumps(codes))
"""
CHAIN = {"skip_connect", "conv_1x1", "conv_3x3"}


@pytest.mark.parametrize(("name", "after"), [block[:2] for block in BLOCKS if block[1]])
def test_the_lines_after_which_code_is_added_exist(name: str, after: str) -> None:
    assert after in (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all code blocks of the page."""
    copy = tmp_path_factory.mktemp("extended")
    assert len(BLOCKS) == 14
    for folder in ("darts", "conf"):
        shutil.copytree(ROOT / folder, copy / folder)
    for name, after, block in BLOCKS:
        file = copy / name
        if not after:
            assert not file.exists()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block, encoding="utf-8")
            continue
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(after, f"{after}\n{block.rstrip()}\n", 1), encoding="utf-8")
    return copy


def call_commands(python: WarmPython, copy: Path, *calls: tuple[str, ...]) -> tuple[list[int], str]:
    """Call commands of the copy in one process; return exit codes and standard error."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    code = ("-c", CALL, json.dumps(calls))
    result = python.run(*code, folder=copy, environment=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1]), result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "operations"),
    [
        (("method=tempered", "bilevel=unrolled"), None),
        (("space.candidates=plain",), {"skip_connect", "conv_3x3"}),
        (("space=chain", "method=drnas", "relaxation.partial=1", "penalty.flops=1e3"), CHAIN),
        (("dataset=stripes", "task=focal"), None),
    ],
    ids=["method", "operation", "space", "data set and task"],
)
def test_search_and_retrain_with_an_addition(
    warm_python: WarmPython,
    extended: Path,
    overrides: tuple[str, ...],
    operations: set[str] | None,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    kept = [item for item in overrides if item.startswith(("space=", "dataset=", "task="))]
    space = [item for item in overrides if item.startswith("space=")]
    data = [] if "dataset=stripes" in overrides else ["dataset=synthetic"]
    options = ["auxiliary=0", "drop_path=0"] if space else []
    codes, err = call_commands(
        warm_python,
        extended,
        ("search", *SMALL, *data, *overrides, f"hydra.run.dir={run}"),
        (
            *("retrain", f"genotype={run}", *kept, *SMALL, *data, *options),
            f"hydra.run.dir={tmp_path / 'retrain'}",
        ),
    )
    assert codes == [0, 0], err
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    names = set(re.findall(r"\w*(?:conv|pool|skip|none)\w*", summary["genotype"]))
    assert names
    assert operations is None or names <= operations
    config = (run / "config.yaml").read_text(encoding="utf-8")
    assert all(f"{item.split('=')[0].split('.')[-1]}:" in config for item in overrides)


@pytest.mark.slow
def test_options_that_an_addition_does_not_support_end_in_one_line(
    warm_python: WarmPython, extended: Path
) -> None:
    options = ("method=pc_darts", "method=oles", "memory=checkpoint")
    unsupported = [("space=chain", option) for option in options]
    calls = [("method=tempered", "relaxation.temperature=-1"), *unsupported]
    codes, err = call_commands(
        warm_python, extended, *(("search", "dataset=synthetic", *SMALL, *call) for call in calls)
    )
    assert codes == [2] * 4, err
    wrong_value, *lines = err.strip().splitlines()
    assert wrong_value.startswith("darts search: relaxation.temperature=-1")
    assert len(lines) == 3, err
    assert all("space" in line for line in lines)
