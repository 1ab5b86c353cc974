"""Run trainings on the pretended GPU with and without CUDA graphs, and compare the results.

Usage: ``python compare_graphs.py FOLDER`` with cases on standard input: JSON of a list of
``[name, case]``; see ``compare`` for the keys of a case. The output is JSON: by name, what
``compare`` returns.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pretended_gpu import COUNTS  # isort: skip
from run_on_gpu import STEPS

import darts  # isort: skip
import torch
from torch.utils._pytree import tree_flatten_with_path

from darts.config import Invocation
from darts.config.resumed_run import ResumedRun
from darts.recipes.search import search
from darts.training.checkpoint import load_checkpoint
from darts.training.graphs import GraphedStep
from darts.training.loop import TrainingLoop

# What differs between two equal runs: times, and the hashes of rows that contain times.
IGNORED = ("seconds", "joules", "gco2e", "samples_per_second")
STATE = ("searcher", "history", "genotypes", "net", "optimizer", "best", "random")


class Killed(BaseException):
    """Ends a run as a signal would that cannot be caught."""


def kill_after(steps: int | None) -> None:
    """Let the next run end after this many steps; None lets it finish."""
    STEPS.clear()
    COUNTS.reset()
    counted = COUNTED_STEP

    def record(self: Any, report: Any) -> None:
        if steps is not None and len(STEPS) == steps:
            raise Killed
        counted(self, report)

    TrainingLoop._record_step = record  # type: ignore[method-assign]


COUNTED_STEP = TrainingLoop._record_step


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
    folder = Path(sys.argv[1])
    cases = json.load(sys.stdin)
    print(json.dumps({name: compare(case, folder / name) for name, case in cases}))


if __name__ == "__main__":
    main()
