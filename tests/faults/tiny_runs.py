"""The smallest run of each command, to be called in forks, and what such runs must end with."""

from __future__ import annotations

import csv
import functools
import importlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from end_states import COSTS, checkpoint_end, training_end, without
from fake_executor import make_fake_executor
from fast_composition import compose_faster
from file_calls import Watcher, watch
from fork_server import limit_file_size

from darts.reading import read_json

DATA = ("dataset=synthetic", "dataset.samples=24", "dataset.size=8", "loader.batch_size=4")
GENOTYPE = 'genotype={"space": "mlp", "layers": ["relu_8"]}'
MLP = (*DATA, "space=mlp", "seed=7", "tracking.figures=false")
RUNS: dict[str, tuple[str, ...]] = {
    "search": (*MLP, "epochs=2", "save_minutes=0"),
    "retrain": (*MLP, GENOTYPE, "epochs=2", "validation=0.2", "save_minutes=0"),
    "tune": (
        *(*MLP, GENOTYPE, "epochs=1", "validation=0.2", "tracking.tensorboard=false"),
        "parameters.optimizer.lr={low: 0.001, high: 0.1, log: true}",
        *("strategy=random", "budget.trials=2", "heartbeat=1", "executor=inline"),
        "analysis.retrain_best=false",
    ),
    "find": (
        *("dataset=synthetic", "dataset.samples=48", "dataset.size=8", "loader.batch_size=4"),
        *("space=mlp", "space.cells=1", "space.widths=[8]", "seed=7"),
        *("device=cpu", "executor=inline"),
        *("plan.equal=epochs", "plan.slice_epochs=1", "plan.rounds=2", "plan.newcomers=1"),
        *("plan.epochs=3", "plan.folds=1", "plan.settings=false", "save_minutes=0"),
    ),
    "compare": (
        *("dataset=synthetic", "dataset.samples=48", "space=mlp", "loader.batch_size=16"),
        *("search.epochs=2", "retrain.epochs=3", "seed=5", "draws=1000"),
        *("baselines=[random]", "searches=1", "retrainings=1", "workers=1"),
    ),
}

# Values that also differ between equal runs: they depend on time, folder or number of attempts.
MEASURED = COSTS | {"wall_seconds", "trials", "failed", "trial", "git_revision", "outlook"}
MEASURED |= {"winner_seconds", "baseline_seconds"}


def run(command: str, *arguments: str, watched: tuple[Path, Watcher] | None = None) -> Any:
    """Call a command as if a user had started it; call this in a fork.

    ``watched`` is a folder, and the watcher of its file-system calls, which is returned.
    """
    if watched is not None:
        watch(*watched)
    sys.argv = [f"darts.{command}", *arguments]
    try:
        importlib.import_module(f"darts.{command}").main()
    except SystemExit as done:
        if done.code != 3:  # the results of these tiny runs are worthless
            raise
    return None if watched is None else watched[1]


def start(command: str, directory: Path, *more: str, **options: Any) -> Any:
    """Start the tiny run of a command in a directory; ``more`` may change its keys; see ``run``."""
    keys = {word.partition("=")[0] for word in more}
    kept = [word for word in RUNS[command] if word.partition("=")[0] not in keys]
    return run(command, *kept, *more, f"hydra.run.dir={directory}", **options)


def start_limited(command: str, directory: Path, limit: int) -> None:
    """Start a run whose files cannot grow beyond a limit, which the system enforces."""
    limit_file_size(limit)
    start(command, directory)


def resume(command: str, directory: Path, **options: Any) -> Any:
    return run(command, f"resume={directory}", **options)


def warm_up(command: object = "search", *_: object) -> None:
    """Call a command once, so that later calls in forks find all imports done and are fast.

    The server calls this before each fork, with the arguments of the forked function.
    """
    if isinstance(command, str) and command in RUNS:
        _warm_up(command)


@functools.cache
def _warm_up(command: str) -> None:
    prepare_process()
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nothing,
        redirect_stdout(nothing),
        redirect_stderr(nothing),
        suppress(SystemExit),  # the results of so small runs may be worthless
    ):
        start(command, Path(folder) / command)


@functools.cache
def prepare_process() -> None:
    """Make all later runs of this process fast."""
    torch.set_num_threads(1)
    patch = pytest.MonkeyPatch()
    compose_faster(patch)
    patch.setattr(importlib.import_module("darts.compare"), "make_executor", make_fake_executor)


@contextmanager
def launched(
    command: str, *arguments: str, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a new process group and kill it at the end.

    ``before`` precedes the command, for example ``nohup``.
    """
    process = subprocess.Popen(
        [*before, sys.executable, "-m", f"darts.{command}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        process_group=0,
        preexec_fn=_default_signals,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _default_signals() -> None:
    """Let signals end a process, although tests that run in the background may ignore them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end_state(command: str, directory: Path) -> dict[str, object]:
    """Return what must be the same at the end of a run, however often it was interrupted."""
    kind = "training" if command in ("search", "retrain") else command
    state = {"summary": without(MEASURED, read_json(directory / "summary.json"))}
    state |= _STATES[kind](command, directory)
    events = list(directory.glob("events*"))
    if events and stat.S_ISREG(events[0].lstat().st_mode):
        state["TensorBoard"] = _tensorboard(events)
    return state


def _tensorboard(files: list[Path]) -> list[object]:
    """Return step, tag and value of each record; those of a race have seconds as steps."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    (file,) = files
    records: list[object] = []
    for raw in RawEventFileLoader(str(file)).Load():
        event = Event.FromString(raw)
        for value in (v for v in event.summary.value if not v.tag.startswith("race/")):
            measured = COSTS.intersection(value.tag.split("/")) or "hparams" in value.tag
            content = "" if measured else str(value.tensor or value.simple_value)
            records.append((event.step, value.tag, content))
    return records


def _tune(command: str, directory: Path) -> dict[str, object]:
    """Return points and scores of the complete trials; killed attempts do not count."""
    with (directory / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = [without(MEASURED, row) for row in csv.DictReader(file)]
    best = without(MEASURED, read_json(directory / "best.json"))
    best.pop("command", None)
    return {"trials.csv": [row for row in rows if row["state"] == "complete"], "best.json": best}


def _find(command: str, directory: Path) -> dict[str, object]:
    """Return scores of all trainings, and the checkpoint of the network."""
    with (directory / "candidates.csv").open(encoding="utf-8", newline="") as file:
        rows = [without(MEASURED, row) for row in csv.DictReader(file)]
    # A run that is killed at its very end leaves its lock behind.
    names = {path.name for path in directory.iterdir()} - {"run.lock"}
    return {
        "files": sorted(names),
        "candidates.csv": rows,
        "genotype.json": (directory / "genotype.json").read_text(),
        **checkpoint_end(directory, "retrain"),
    }


def _compare(command: str, directory: Path) -> dict[str, object]:
    names = [path.relative_to(directory).as_posix() for path in directory.rglob("*")]
    with (directory / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "files": sorted(names),
        "rows.csv": rows,
        "genotypes": [path.read_text() for path in sorted(directory.rglob("genotype.json"))],
    }


_STATES: dict[str, Callable[[str, Path], dict[str, object]]] = {
    "training": training_end,
    "tune": _tune,
    "find": _find,
    "compare": _compare,
}


def differences(actual: object, expected: object, name: str = "") -> list[str]:
    """Return what differs between two end states: the path of each value, and both values."""
    if isinstance(actual, dict) and isinstance(expected, dict):
        return [
            difference
            for key in dict.fromkeys([*actual, *expected])
            for difference in differences(actual.get(key), expected.get(key), f"{name}/{key}")
        ]
    if isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
        pairs = enumerate(zip(actual, expected, strict=True))
        return [text for i, (a, b) in pairs for text in differences(a, b, f"{name}/{i}")]
    return (
        [] if actual == expected else [f"{name}: {str(actual)[:300]} is not {str(expected)[:300]}"]
    )


@functools.cache
def faults_mode() -> str:
    """Return how many faults to try: ``DARTS_FAULTS=full`` tries all of them."""
    return os.environ.get("DARTS_FAULTS", "")
