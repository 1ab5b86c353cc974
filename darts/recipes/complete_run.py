"""A complete run, as the Python functions return it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darts.reading import JsonObject, read_json_object
from darts.tracking import read_metrics


@dataclass(frozen=True)
class CompleteRun:
    """A complete run.

    Attributes:
        directory: Its run directory.
    """

    directory: Path

    @property
    def summary(self) -> JsonObject:
        """The content of ``summary.json``."""
        return read_json_object(self.directory / "summary.json")

    @property
    def history(self) -> list[JsonObject]:
        """The rows of ``metrics.jsonl``: one per epoch, and those of gradient diagnostics.

        It is empty if the run has no epochs.
        """
        file = self.directory / "metrics.jsonl"
        return read_metrics(file) if file.exists() else []
