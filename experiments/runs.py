"""Commands of the package as subprocesses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darts.reading import read_json

WORTHLESS = 3  # exit code of a finished run whose result is worthless


def run(
    command: str, directory: Path, *overrides: str, log: bool = True, program: Sequence[str] = ()
) -> dict[str, Any]:
    """Run a command in a run directory, and return its ``summary.json``.

    A finished run is not repeated; an interrupted run is resumed.

    Args:
        command: Name of the command, for example ``search``.
        directory: The run directory.
        overrides: Overrides of a new run; a resumed run keeps its own configuration.
        log: Append the output to ``<directory>.log`` instead of printing it.
        program: A script with its first arguments that is run in place of ``darts.<command>``.

    Raises:
        CalledProcessError: If the command fails. A worthless result does not count: it has a
            summary, which says so.
    """
    if not (directory / "summary.json").exists():
        if (directory / "config.yaml").exists():
            overrides = (f"resume={directory}",)
        else:
            overrides = (*overrides, f"hydra.run.dir={directory}")
        words = [sys.executable, *(program or ("-m", f"darts.{command}")), *overrides]
        if log:
            path = directory.with_suffix(".log")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                done = subprocess.run(words, check=False, stdout=file, stderr=file)
        else:
            done = subprocess.run(words, check=False)
        if done.returncode != WORTHLESS:
            done.check_returncode()
    summary: dict[str, Any] = read_json(directory / "summary.json")
    return summary
