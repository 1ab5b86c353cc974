"""Run commands on the pretended GPU; print what a step costs, or the effect of CUDA graphs.

Usage: ``python run_on_gpu.py FOLDER`` with cases on standard input: JSON of a list of
``[name, command, [overrides]]``, or of ``[name, case]`` for a comparison, see ``compare`` for the
keys of a case. The output is JSON: by name, the launches and waits of one step in the middle of the
run, and the scores of the run, or what ``compare`` returns.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pretended_gpu import COUNTS, install

install()

import torch  # noqa: E402
from torch.utils._pytree import tree_flatten_with_path  # noqa: E402

import darts  # noqa: E402
from darts.config import Invocation  # noqa: E402
from darts.config.resumed_run import ResumedRun  # noqa: E402
from darts.recipes.search import search  # noqa: E402
from darts.training.checkpoint import load_checkpoint  # noqa: E402
from darts.training.graphs import GraphedStep  # noqa: E402
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


# What differs between two equal runs: times, and the hashes of rows that contain times.
IGNORED = ("seconds", "joules", "gco2e", "samples_per_second")
STATE = ("searcher", "history", "genotypes", "net", "optimizer", "best", "random")


class Killed(BaseException):
    """Ends a run as a signal would that cannot be caught."""


def kill_after(steps: int | None) -> None:
    """Let the next run end after this many steps; None lets it finish."""
    STEPS.clear()
    COUNTS.reset()

    def record(self: Any, report: Any) -> None:
        if steps is not None and len(STEPS) == steps:
            raise Killed
        record_and_count(self, report)

    TrainingLoop._record_step = record  # type: ignore[method-assign]


def resume(folder: Path, changes: dict[str, Any]) -> None:
    run = ResumedRun.load("search", str(folder))
    config: Any = dataclasses.replace(run.config, resume=str(folder), **changes)
    search(config, Invocation(folder, run.recorded_overrides))


def results(folder: Path) -> dict[str, Any]:
    """Return all numbers and texts of a run, by place."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    checkpoint = load_checkpoint(folder / "checkpoint.safetensors")
    content = {key: checkpoint[key] for key in STATE if key in checkpoint}
    leaves, _ = tree_flatten_with_path([rows, summary, content])
    named = {"".join(map(str, path)): value for path, value in leaves}
    return {key: value for key, value in named.items() if not any(i in key for i in IGNORED)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the places at which two results are not equal."""
    return [
        name
        for name in {**one, **other}
        if name not in one or name not in other or not _equal(one[name], other[name])
    ]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def _discard_once(self: Any) -> None:
    if not hasattr(self, "_layout"):  # the call of the constructor
        DISCARD(self)


DISCARD = GraphedStep.discard


def compare(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a training without graphs, and with them, and compare them.

    Args:
        case: The ``command``, by default ``search``; ``overrides`` of both trainings; those that
            only the second one has (``second``), by default ``graphs=auto``; the number of steps
            after which it is killed (``kill``), if it is; keys that change when the search then
            resumes (``resume``);
            whether graphs are never discarded (``keep_graphs``).
        folder: Folder of the runs.
    """
    train = {"search": darts.search, "retrain": darts.retrain}[case.get("command", "search")]
    kill_after(None)
    with redirect_stdout(io.StringIO()):
        train(overrides=[*case["overrides"], "device=cuda", "graphs=off"], out=folder / "1")
    if case.get("keep_graphs"):
        GraphedStep.discard = _discard_once  # type: ignore[method-assign]
    printed = io.StringIO()
    second = [*case["overrides"], "device=cuda", "graphs=auto", *case.get("second", ())]
    kill_after(case.get("kill"))
    with redirect_stdout(printed):
        try:
            train(overrides=second, out=folder / "2")
        except Killed:
            kill_after(None)
            resume(folder / "2", case.get("resume", {}))
    expected, found = results(folder / "1"), results(folder / "2")
    return {
        "launches": [sum(step["launches"].values()) for step in STEPS],
        "graphs": [step["launches"].get("graph", 0) for step in STEPS],
        "printed": [line for line in printed.getvalue().splitlines() if "graphs=auto:" in line],
        "compared": len(expected),
        "differences": differences(expected, found),
        "losses": [
            json.loads((folder / n / "summary.json").read_text())["valid_loss"] for n in "12"
        ],
    }


def main() -> None:
    results = {}
    for number, (name, *case) in enumerate(json.load(sys.stdin)):
        function = run_case if len(case) == 2 else compare
        results[name] = function(*case, Path(sys.argv[1]) / str(number))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
