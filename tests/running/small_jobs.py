"""Jobs of tiny runs, and what such runs must end with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from end_states import MEASURED, training_end, without
from waiting import wait_for

from darts.reading import read_json
from darts.running.jobs import Job

DATA = ("dataset=synthetic", "dataset.samples=24", "dataset.size=8", "loader.batch_size=4")
COMMON = (*DATA, "space=mlp", "tracking.figures=false", "save_minutes=0", "epochs=2")
GENOTYPE = 'genotype={"space": "mlp", "layers": ["relu_8"]}'
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "search": ("search", (*COMMON, "seed=7")),
    "retrain": ("retrain", (*COMMON, GENOTYPE, "validation=0.2", "seed=8")),
    "cnn": (
        "retrain",
        (
            *(*DATA, "genotype=DARTS_V2", "space.channels=2", "space.cells=2", "epochs=1"),
            # Drop path draws from the global generator.
            *("drop_path=0.3", "validation=0.2", "seed=9", "tracking.figures=false"),
        ),
    ),
    "diverging": (
        "retrain",
        (*COMMON, GENOTYPE, "validation=0.2", "optimizer.lr=1e30", "restarts=0"),
    ),
    "invalid": ("retrain", (*COMMON, GENOTYPE, "optimizer.lr=-1")),
}


def make_job(kind: str, folder: Path, *more: str, name: str = "", **options: Any) -> Job:
    """Return the job of a tiny run whose directory is in a folder."""
    command, overrides = RUNS[kind]
    keys = {override.partition("=")[0] for override in more}
    kept = tuple(item for item in overrides if item.partition("=")[0] not in keys)
    name = name or kind
    return Job(name, command, folder / name, (*kept, *more), **options)


def named_job(name: str) -> Job:
    """Return a job for executors that do not execute it."""
    return Job(name, "retrain", Path("unused", name), ())


def when_exists(file: Path, action: Callable[[], object]) -> threading.Thread:
    """Call a function in another thread as soon as a file exists."""

    def watch() -> None:
        wait_for(file)
        action()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def end_state(job: Job) -> dict[str, object]:
    """Return what two equal runs must have in common, bit for bit."""
    summary = without(MEASURED, read_json(job.directory / "summary.json"))
    return {"summary": summary, **training_end(job.command, job.directory)}
