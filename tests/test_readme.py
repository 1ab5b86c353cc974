"""Every command in the README and the docs is one that the program takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from darts import compare, evaluate, export, genotypes, report, retrain, search, tune
from darts.config import compose
from darts.spaces import SPACES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "experiments" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
CHECKS = {
    "search": search.check,
    "retrain": retrain.check,
    "evaluate": evaluate.check,
    "export": export.check,
    "genotypes": genotypes.check,
    "report": report.check,
    "tune": tune.check,
    "compare": compare.check,
}


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            found += [line.partition(" #")[0].strip() for line in block.splitlines()]
        found += re.findall(r"`(python [^`]+|make \w+)`", page.read_text(encoding="utf-8"))
    # What torchrun starts is a command like any other.
    found = [re.sub(r"^(srun )?torchrun .*(-m darts\.)", r"python \2", line) for line in found]
    return sorted({line for line in found if line.startswith(("python ", "make "))})


@pytest.mark.parametrize("line", [c for c in commands() if c.startswith("python -m darts.")])
def test_a_command_composes_and_passes_its_check(line: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint.pt").touch()
    words = shlex.split(re.sub(r"runs/\w+/<run>", str(run), line))
    command = words[2].removeprefix("darts.")
    overrides = [word for word in words[3:] if not word.startswith(("--", "resume="))]
    if "--multirun" in words:  # of a sweep, the first run
        overrides = [word.partition(",")[0] for word in overrides]
    if "resume" in line and command in (
        "tune",
        "compare",
    ):  # what it varies is in the run's own overrides
        assert overrides == []
        return
    config = compose(command, overrides)
    # That run has found something in the space of the command that names it.
    space = getattr(config, "space", None)
    found = genotype_of("cnn" if space is None else space.name)
    (run / "genotype.json").write_text(found, encoding="utf-8")
    CHECKS[command](config)


def documented_python() -> list[str]:
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    return [block for page in pages for block in re.findall(r"```python\n(.*?)```", page, re.S)]


def test_documented_python_runs() -> None:
    assert documented_python()
    for block in documented_python():
        subprocess.run([sys.executable, "-c", block], check=True, timeout=120)


def genotype_of(space: str) -> str:
    genotype = SPACES[space]().random(torch.Generator().manual_seed(0))
    return str(genotype.to_json())


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^(\w+):", makefile, re.M)
    named = [c.split()[1] for c in commands() if c.startswith("make ")]
    assert named
    assert set(named) <= set(targets)
    assert {"help", "demo", "test", "lint", "bench"} <= set(targets)


def test_every_script_named_exists() -> None:
    scripts = [c.split()[1] for c in commands() if c.startswith("python experiments/")]
    assert scripts
    for script in scripts:
        assert (ROOT / script).is_file(), script


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    for page in PAGES:
        words = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", words):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
