"""Run commands on the pretended GPU; print what a step costs.

Usage: ``python run_on_gpu.py FOLDER`` with cases on standard input: JSON of a list of
``[name, command, [overrides]]``. The output is JSON: by name, the launches and waits of one step in
the middle of the run, and the scores of the run.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pretended_gpu import COUNTS, install

install()


import darts  # noqa: E402
from darts.training.loop import TrainingLoop  # noqa: E402

STEPS: list[dict[str, dict[str, int]]] = []
record_step = TrainingLoop._record_step


def record_and_count(self: Any, report: Any) -> None:
    """Record a step, then start to count the next one, which begins with the next batch."""
    record_step(self, report)
    counters = {"launches": COUNTS.launches, "waits": COUNTS.waits}
    STEPS.append({name: dict(counter) for name, counter in counters.items()})
    COUNTS.reset()


TrainingLoop._record_step = record_and_count  # type: ignore[method-assign]


def run_case(command: str, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Run a command of at least four steps; return the counts of its third step."""
    STEPS.clear()
    train = {"search": darts.search, "retrain": darts.retrain}[command]
    with redirect_stdout(io.StringIO()):
        train(overrides=[*overrides, "device=cuda"], out=folder)
    third = STEPS[2]
    summary = json.loads((folder / "summary.json").read_text())
    return {
        "launches": sum(third["launches"].values()),
        "waits": third["waits"],
        "summary": {key: value for key, value in summary.items() if key.startswith("valid")},
    }


def main() -> None:
    results = {}
    for number, (name, command, overrides) in enumerate(json.load(sys.stdin)):
        results[name] = run_case(command, overrides, Path(sys.argv[1]) / str(number))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
