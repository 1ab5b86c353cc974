"""A tracker: one line of text for each step, in the run directory."""

from __future__ import annotations

from collections.abc import Mapping

from darts.tracking.trackers import TRACKERS, TrackedRun, Tracker


@TRACKERS.register
class Lines(Tracker):
    """``lines.txt``."""

    name = "lines"

    def __init__(self, run: TrackedRun) -> None:
        self._path = run.directory / "lines.txt"
        if run.resumed_at is None:
            self._path.write_text("")

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._write(f"step {step}", scalars)

    def log_results(self, metrics: Mapping[str, float]) -> None:
        self._write("result", metrics)

    def _write(self, title: str, values: Mapping[str, float]) -> None:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        with self._path.open("a") as file:
            file.write(f"{title}: {numbers}\n")
