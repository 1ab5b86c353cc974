"""What the files of a run say about its end."""

from __future__ import annotations

from pathlib import Path

from darts.reading import JsonObject, read_json
from darts.training.run import DIVERGED


def is_complete(directory: Path) -> bool:
    """Return whether a run has finished."""
    return (directory / "summary.json").exists()


def read_summary(directory: Path) -> JsonObject:
    """Return the summary of a complete run."""
    summary: JsonObject = read_json(directory / "summary.json")
    return summary


def read_divergence(directory: Path) -> JsonObject | None:
    """Return the reason (key ``reason``) and the cost of a diverged run, or None for other runs."""
    file = directory / DIVERGED
    if is_complete(directory) or not file.exists():
        return None
    divergence: JsonObject = read_json(file)
    return divergence


def log_file(directory: Path) -> Path:
    """Return the file with the output of a run."""
    return directory.with_name(f"{directory.name}.log")
