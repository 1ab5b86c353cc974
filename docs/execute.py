"""Execute the tutorials, each in a new folder, and store their outputs.

python docs/execute.py                            # all notebooks of docs/tutorials, in place
python docs/execute.py --out DIR own_model        # one notebook; write the result to DIR

A cell that raises an exception, or a command that fails, ends the program with an error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent / "tutorials"
SECONDS = 600
"""Largest duration of a cell."""

CHECK = "assert _exit_code == 0, 'the command failed'"
"""Follows each command, whose exit code IPython otherwise ignores."""


def checked(source: str) -> str:
    """Return the code of a cell with a check after each command, a line that begins with ``!``."""
    lines, is_command = [], False
    for line in source.splitlines():
        is_command = is_command or line.startswith("!")
        lines.append(line)
        if is_command and not line.endswith("\\"):
            lines.append(CHECK)
            is_command = False
    return "\n".join(lines)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Execute all cells with ``folder`` as the working directory; store outputs in the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises an exception or a command fails.
    """
    sources = [cell.source for cell in notebook.cells]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = checked(cell.source)
    NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": folder}},
    ).execute()
    for cell, source in zip(notebook.cells, sources, strict=True):
        cell.source = source
        cell.metadata.pop("execution", None)  # times of the execution
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = output.text.replace(f"{folder}{os.sep}", "").replace(str(folder), ".")


def main() -> None:
    """Execute the notebooks that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="names without .ipynb; all by default")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the results")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # The command `darts` of this environment, also if the environment is not activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("DARTS_LOG", "plain")
    # Without ipywidgets, a dependency warns that it cannot show a progress bar.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
    for name in arguments.names or sorted(file.stem for file in FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder).resolve())
        nbformat.write(notebook, arguments.out / f"{name}.ipynb")
        print(f"executed {name}", flush=True)


if __name__ == "__main__":
    main()
