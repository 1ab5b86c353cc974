"""The pages and tutorials of the documentation: commands, code blocks, links, and the site."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from tiny_search import phone

import darts
from darts.config import compose
from darts.config.groups import COMMANDS
from darts.spaces import SPACES

ROOT = Path(__file__).parents[1]
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "experiments/README.md")
PAGES = [*(ROOT / name for name in TOP), *sorted(ROOT.glob("docs/*.md"))]


def commands() -> list[str]:
    """Return all commands of the pages that start with ``darts``, ``python`` or ``make``."""
    lines: list[str] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
            lines += [line.partition(" #")[0].strip() for line in block.splitlines()]
        lines += re.findall(r"`(python [^`]+|make [\w-]+)`", text)
    # torchrun starts the same commands.
    lines = [re.sub(r"^(srun )?torchrun .*-m darts\.", "darts ", line) for line in lines]
    return sorted({line for line in lines if line.startswith(("darts ", "python ", "make "))})


@pytest.mark.parametrize("line", [c for c in commands() if re.match(r"darts \w+( |$)", c)])
def test_a_command_composes_and_passes_its_check(line: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for file in ("checkpoint.safetensors", "trees.safetensors"):
        (run / file).touch()
    line = re.sub(r"--cfg \w+", "", line)
    line = line.replace("phone.json", str(phone(tmp_path)))
    words = shlex.split(re.sub(r"runs/\w+/<run>", str(run), line))
    command = words[1]
    overrides = [
        "dataset=csv" if word == "FILE.csv" else word
        for word in words[2:]
        if not word.startswith(("--", "resume=")) and word not in ("DIR", "pictures/")
    ]
    if "--multirun" in words:  # check the first run of a sweep
        overrides = [word.partition(",")[0] for word in overrides]
    if "resume=" in line and command in ("find", "tune", "compare", "judge"):
        # A resumed run takes its configuration from the config.yaml of its run directory.
        changeable = (*COMMANDS[command].may_change_on_resume, "executor=")
        assert all(word.startswith(changeable) for word in overrides)
        return
    config = compose(command, overrides)
    # The run directory in the command has a genotype of the space that the command names.
    space = getattr(config, "space", None)
    kind = SPACES["cnn" if space is None else space.name]
    genotype = kind().random(torch.Generator().manual_seed(0))
    (run / "genotype.json").write_text(genotype.to_json(), encoding="utf-8")
    importlib.import_module(f"darts.{command}").check(config)


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    mentioned = [c.split()[1] for c in commands() if c.startswith("make ")]
    assert mentioned
    assert set(mentioned) <= set(targets)
    assert {"help", "demo", "test", "test-slow", "lint", "bench"} <= set(targets)


def test_every_script_exists() -> None:
    scripts = [c.split()[1] for c in commands() if c.startswith("python experiments/")]
    assert scripts
    for script in scripts:
        assert (ROOT / script).is_file(), script


def test_links_point_to_existing_files_and_headings() -> None:
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr  # a warning is an error
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_in_the_navigation(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in start, page.name


def test_tutorials_show_their_outputs(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for notebook in (ROOT / "docs" / "tutorials").glob("*.ipynb"):
        assert f'href="tutorials/{notebook.stem}.html"' in start, notebook.stem
        assert (site / "tutorials" / notebook.name).exists()
    page = (site / "tutorials" / "collapse.html").read_text(encoding="utf-8")
    (image,) = re.findall(r'src="(collapse_files/[^"]*\.svg)"', page)
    assert "<svg" in (site / "tutorials" / image).read_text(encoding="utf-8")
    assert "skip connections or none" in page
    assert "experiments/README.md" not in (site / "tutorials" / "compare_methods.html").read_text(
        encoding="utf-8"
    )


def test_the_reference_contains_the_public_names(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    names = {f"darts.api.{name}" for name in ("find", "search", "retrain", "create_model")}
    names |= {f"darts.recipes.model.{name}" for name in ("load", "predict")}
    names |= {f"darts.spaces.module.{name}" for name in ("Choice", "InputChoice", "Repeat")}
    assert all(f'id="{name}"' in text or f'id="{name}.' in text for name in names), names
    known = {name.rpartition(".")[2] for name in names} | {"__version__"}
    assert known == set(darts.__all__)


def test_the_pages_load_nothing_from_other_servers(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?://[^"]*)"', text)
        assert loaded == [], page.name


DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = sorted(file.stem for file in (DOCS / "tutorials").glob("*.ipynb"))


def read(file: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    return notebook


def texts(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text", "") for output in outputs)


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_outputs_are_those_of_one_complete_execution(name: str) -> None:
    notebook = read(DOCS / "tutorials" / f"{name}.ipynb")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds
    assert "error" not in kinds
    assert "/tmp/" not in texts(notebook)
    assert "Warning" not in texts(notebook)
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(DOCS / "execute.py"), "--out", str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    executed, stored = read(tmp_path / f"{name}.ipynb"), read(DOCS / "tutorials" / f"{name}.ipynb")
    assert [cell.source for cell in executed.cells] == [cell.source for cell in stored.cells]
    assert not any(
        p.is_dir() for p in (DOCS / "tutorials").iterdir()
    )  # the files are in a folder of their own


@pytest.mark.slow
def test_a_failing_command_ends_the_execution(tmp_path: Path) -> None:
    code = "import sys\n!{sys.executable} -m darts.search epochs=none"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    program = (
        "import runpy, sys, nbformat\n"
        f"execute = runpy.run_path({str(DOCS / 'execute.py')!r})['execute']\n"
        f"execute(nbformat.read({str(tmp_path / 'bad.ipynb')!r}, 4), {str(tmp_path)!r})\n"
    )
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "the command failed" in done.stderr
