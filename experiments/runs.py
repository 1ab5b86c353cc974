"""Commands of the package as subprocesses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from darts.reading import read_json


def run(command: str, directory: Path, *overrides: str, log: bool = True) -> dict[str, Any]:
    """Run a command in a run directory, and return its ``summary.json``.

    A finished run is not repeated; an interrupted run is resumed.

    Args:
        command: Name of the command, for example ``search``.
        directory: The run directory.
        overrides: Overrides of a new run; a resumed run keeps its own configuration.
        log: Append the output to ``<directory>.log`` instead of printing it.

    Raises:
        CalledProcessError: If the exit code of the command is not 0.
    """
    if not (directory / "summary.json").exists():
        if (directory / "overrides.json").exists():
            overrides = (f"resume={directory}",)
        else:
            overrides = (*overrides, f"hydra.run.dir={directory}")
        words = [sys.executable, "-m", f"darts.{command}", *overrides]
        if log:
            path = directory.with_suffix(".log")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                subprocess.run(words, check=True, stdout=file, stderr=file)
        else:
            subprocess.run(words, check=True)
    summary: dict[str, Any] = read_json(directory / "summary.json")
    return summary
