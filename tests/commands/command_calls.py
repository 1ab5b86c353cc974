"""Call commands in the test process on tiny synthetic data, and inspect their results."""

from __future__ import annotations

import csv
import io
import itertools
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from end_states import COSTS, MEASURED, NOT_REPRODUCIBLE, identical, without
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from darts import compare, device, evaluate, find_command, genotypes, judge, report, tune
from darts.config import launch
from darts.reading import read_json
from darts.recipes import prediction, retrain, search
from darts.recipes.exporting import export
from darts.tracking import read_metrics
from darts.training import loop
from darts.training.checkpoint import load_checkpoint

ENTRY_POINTS: dict[str, tuple[Callable[..., None], Callable[..., Any]]] = {
    "search": (search.check, search.search),
    "retrain": (retrain.check, retrain.retrain),
    "evaluate": (evaluate.check, evaluate.evaluate),
    "export": (export.check, export.export),
    "predict": (prediction.check, prediction.predict),
    "genotypes": (genotypes.check, genotypes.genotypes),
    "report": (report.check, report.report),
    "find": (find_command.check, find_command.find),
    "judge": (judge.check, judge.judge),
    "tune": (tune.check, tune.tune),
    "compare": (compare.check, compare.compare),
    "device": (device.check, device.device),
}
QUIET = ("tracking.tensorboard=false", "tracking.figures=false")
LOUD = ("tracking.tensorboard=true", "tracking.figures=true")
TINY = dict.fromkeys(("search", "retrain"), ("dataset=synthetic", "dataset.samples=64", *QUIET))
TRAINING_FILES = (
    *("config.yaml", "genotype.json", "metrics.jsonl", "summary.json", "env.json", "split.npz"),
    *("checkpoint.safetensors", "genotype.svg"),
)
SCORES = ("valid_accuracy", "valid_loss", "test_accuracy", "test_loss", "epoch", "epochs")


@dataclass(frozen=True)
class CommandResult:
    """Run directory, return value and standard output of a command that succeeded."""

    directory: Path
    result: Any
    out: str

    def json(self, name: str) -> Any:
        return read_json(self.directory / name)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return read_metrics(self.directory / "metrics.jsonl")

    @property
    def board(self) -> EventAccumulator:
        board = EventAccumulator(str(self.directory), size_guidance={"tensors": 0, "images": 0})
        board.Reload()
        return board

    @property
    def checkpoint(self) -> dict[str, Any]:
        return load_checkpoint(self.directory / "checkpoint.safetensors")


class Crash(RuntimeError):
    """Simulated failure that ends a command between two steps."""


def run(command: str, directory: Path | None, *overrides: str) -> CommandResult:
    """Call a command on tiny data, without figures and TensorBoard.

    ``directory=None`` uses the default run directory.
    """
    arguments = [*TINY.get(command, ()), *overrides]
    if directory is not None:
        arguments.append(f"hydra.run.dir={directory}")
    return call(command, arguments, directory)


def call(command: str, arguments: Iterable[str], directory: Path | None = None) -> CommandResult:
    """Call a command with exactly these arguments."""
    out = io.StringIO()
    with redirect_stdout(out):
        result = launch(command, *ENTRY_POINTS[command], list(arguments))
    return CommandResult(directory or Path(), result, out.getvalue())


def error_of(command: str, *arguments: str) -> str:
    """Return the error of a command, which must be one line with exit code 2.

    It must not leave a run directory behind, unless the arguments name one.
    """
    err, out, given = io.StringIO(), io.StringIO(), list(arguments)
    named = any(word.startswith(("hydra.run.dir=", "resume=", "--")) for word in given)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        if not named and command not in ("genotypes", "report"):
            given.append(f"hydra.run.dir={directory}")
        with redirect_stderr(err), redirect_stdout(out), pytest.raises(SystemExit) as exit_info:
            launch(command, *ENTRY_POINTS[command], given)
        assert not directory.exists()
    assert exit_info.value.code == 2
    assert len(err.getvalue().splitlines()) == 1, err.getvalue()
    return err.getvalue()


def read_table(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column."""
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def printed_arguments(out: str, command: str) -> list[str]:
    """Return the arguments of the only call of a command in printed text."""
    prefix = f"darts {command} "
    (line,) = [line.strip() for line in out.splitlines() if prefix in line]
    return shlex.split(line[line.index(prefix) + len(prefix) :])


def start(command: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a command in a new process with as many threads as the test process."""
    threads = str(torch.get_num_threads())
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return subprocess.Popen(
        [sys.executable, "-m", f"darts.{command}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def crash(steps: int, call: Callable[[], Any]) -> None:
    """Call a command and raise ``Crash`` after ``steps`` complete steps."""
    original, remaining = loop.require_finite, iter(range(steps))

    def fail_in_time(*arguments: Any) -> float:
        if next(remaining, None) is None:
            raise Crash
        return float(original(*arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "require_finite", fail_in_time)
        with pytest.raises(Crash):
            call()


@contextmanager
def signal_in_step(step: int, number: int) -> Iterator[None]:
    """Send a signal to this process in a training step, counted from 1 in the block."""
    original, steps = loop.require_finite, itertools.count(1)

    def count(*arguments: Any) -> float:
        if next(steps) == step:
            signal.raise_signal(number)
        return float(original(*arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "require_finite", count)
        yield


def assert_files(run: CommandResult, *more: str) -> None:
    """Check that a search or a retraining has written the files of both, and more."""
    present = {file.name for file in run.directory.iterdir()}
    assert present >= {*TRAINING_FILES, *more}
    assert len([name for name in present if name.startswith("events.out.tfevents.")]) == 1
    assert not [name for name in present if name.endswith(".tmp")]


def assert_resume_is_exact(command: str, keys: Iterable[str], folder: Path, steps: int = 4) -> None:
    """Check that a run that crashes after ``steps`` and is resumed ends like an unbroken one.

    Checkpoints are compared bit for bit.
    """
    overrides = [*keys, "save_minutes=0"]
    unbroken_in, crashed_in = folder / "unbroken", folder / "crashed"
    unbroken = call(command, [*overrides, f"hydra.run.dir={unbroken_in}"], unbroken_in)
    crashing = [*overrides, f"hydra.run.dir={crashed_in}"]
    crash(steps, lambda: call(command, crashing))
    resumed = call(command, [f"resume={crashed_in}"], crashed_in)
    assert_same_run(resumed, unbroken)
    actual, expected = (without(MEASURED, run.result) for run in (resumed, unbroken))
    assert actual == expected


def assert_same_run(actual: CommandResult, expected: CommandResult) -> None:
    """Check that checkpoints, rows, genotypes and scores are equal; costs may differ."""
    ours, theirs = actual.checkpoint, expected.checkpoint
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - NOT_REPRODUCIBLE:
        assert identical(ours[key], theirs[key]), f"{key} differs"
    assert rows_without_costs(actual) == rows_without_costs(expected)
    genotypes = [(run.directory / "genotype.json").read_bytes() for run in (actual, expected)]
    assert genotypes[0] == genotypes[1]
    for name in SCORES:
        assert actual.json("summary.json").get(name) == expected.json("summary.json").get(name)


def rows_without_costs(run: CommandResult) -> list[dict[str, Any]]:
    return [without(COSTS, row) for row in run.rows]
