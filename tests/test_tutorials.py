"""The tutorials of the documentation are notebooks, which run from start to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

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
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "the command failed" in done.stderr
