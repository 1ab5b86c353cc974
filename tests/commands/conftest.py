"""Commands run in this process on tiny made-up data, and what they leave behind."""

from __future__ import annotations

import io
import os
import shlex
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import darts.recipes.search as search_recipe
from darts import compare, evaluate, export, genotypes, report, retrain, search, tune
from darts.config import launch
from darts.tracking import read_json, read_metrics
from darts.training import loop

PARTS: dict[str, tuple[Callable[..., None], Callable[..., Any]]] = {
    "search": (search.check, search.search),
    "retrain": (retrain.check, retrain.retrain),
    "evaluate": (evaluate.check, evaluate.evaluate),
    "export": (export.check, export.export),
    "genotypes": (genotypes.check, genotypes.genotypes),
    "report": (report.check, report.report),
    "tune": (tune.check, tune.tune),
    "compare": (compare.check, compare.compare),
}
TINY = {
    "search": ("dataset=synthetic", "dataset.samples=64"),
    "retrain": ("dataset=synthetic", "dataset.samples=64"),
}
QUIET = "tracking.tensorboard=false"
# What may differ between a run and its repetition: costs, and where a row of such costs ends.
COSTS = ("seconds", "joules", "joules_source", "gco2e", "collapse_seconds", "peak_memory_mb")


@dataclass(frozen=True)
class Done:
    """One command that ended well: its folder, what it returned and what it printed."""

    directory: Path
    result: Any
    out: str

    def json(self, name: str) -> Any:
        return read_json(self.directory / name)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return read_metrics(self.directory / "metrics.jsonl")

    @property
    def checkpoint(self) -> dict[str, Any]:
        content: dict[str, Any] = torch.load(self.directory / "checkpoint.pt", weights_only=True)
        return content


class Crash(RuntimeError):
    """Stands for whatever ends a process without warning."""


@dataclass(frozen=True)
class Commands:
    """Calls commands in this process."""

    def run(self, command: str, directory: Path | None, *overrides: str) -> Done:
        """Call a command on tiny data; ``directory=None`` leaves the place to the command."""
        given = [*TINY.get(command, ()), *overrides]
        if directory is not None:
            given.append(f"hydra.run.dir={directory}")
        return self.exactly(command, given, directory)

    def exactly(self, command: str, given: Iterable[str], directory: Path | None = None) -> Done:
        """Call a command with these arguments alone."""
        out = io.StringIO()
        with redirect_stdout(out):
            result = launch(command, *PARTS[command], list(given))
        return Done(directory or Path(), result, out.getvalue())

    def refused(self, command: str, *given: str) -> str:
        """The one line with which a command, called with these arguments, ends with code 2."""
        err, out = io.StringIO(), io.StringIO()
        with redirect_stderr(err), redirect_stdout(out), pytest.raises(SystemExit) as left:
            launch(command, *PARTS[command], list(given))
        assert left.value.code == 2
        assert len(err.getvalue().splitlines()) == 1, err.getvalue()
        return err.getvalue()

    def printed(self, out: str, command: str) -> list[str]:
        """The arguments of the one command of that name in a printed text."""
        opening = f"python -m darts.{command} "
        (line,) = [x.strip() for x in out.splitlines() if opening in x]
        return shlex.split(line[line.index(opening) + len(opening) :])

    def start(self, command: str, *given: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command as a user would, with as many threads as this process has."""
        threads = str(torch.get_num_threads())
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        return subprocess.Popen(
            [sys.executable, "-m", f"darts.{command}", *given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )

    def flip_a_bit(self, file: Path) -> None:
        """Damage a checkpoint in the middle of its largest tensor."""
        with zipfile.ZipFile(file) as archive:
            largest = max(archive.infolist(), key=lambda info: info.file_size)
        content = bytearray(file.read_bytes())
        # The local header: 30 bytes, of which the last four are the lengths of what follows it.
        header = content[largest.header_offset :][:30]
        start = largest.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
        content[start + largest.file_size // 2] ^= 4
        file.write_bytes(content)

    def crash(self, command: str, steps: int, call: Callable[[], Any]) -> None:
        """Call the command and let it fail in step number ``steps``, counted from 0."""
        real, left = loop.require_finite, iter(range(steps))

        def failing(*arguments: Any) -> float:
            if next(left, None) is None:
                raise Crash
            return float(real(*arguments))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "require_finite", failing)
            with pytest.raises(Crash):
                call()

    def goes_on(self, command: str, given: Iterable[str], folder: Path, steps: int = 4) -> None:
        """A run that crashes after so many steps and is resumed ends bit for bit as a whole one."""
        start = [*given, "save_minutes=0"]
        whole_in, broken_in = folder / "whole", folder / "broken"
        whole = self.exactly(command, [*start, f"hydra.run.dir={whole_in}"], whole_in)
        broken = [*start, f"hydra.run.dir={broken_in}"]
        self.crash(command, steps, lambda: self.exactly(command, broken))
        done = self.exactly(command, [f"resume={broken_in}"], broken_in)
        ours, theirs = done.checkpoint, whole.checkpoint
        assert ours.keys() == theirs.keys()
        for key in ours.keys() - {"energy", "config", "metrics_offset"}:
            assert self.same(ours[key], theirs[key]), f"{key} differs"
        assert self.steps(done) == self.steps(whole)

    def steps(self, done: Done) -> list[dict[str, Any]]:
        """The rows of a run without what it cost."""
        return [{k: v for k, v in row.items() if k not in COSTS} for row in done.rows]

    def same(self, a: Any, b: Any) -> bool:
        """Whether two nested structures are equal, tensors bit for bit."""
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return a.dtype == b.dtype and a.equal(b)
        if isinstance(a, dict) and isinstance(b, dict):
            return list(a) == list(b) and all(self.same(a[key], b[key]) for key in a)
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            return len(a) == len(b) and all(map(self.same, a, b))
        return bool(type(a) is type(b) and (a == b or (a != a and b != b)))


@pytest.fixture(scope="session")
def commands() -> Commands:
    return Commands()


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures at the end of a search, which take longer than a tiny search."""
    monkeypatch.setattr(search_recipe, "save_search_figures", lambda *_, **__: None)


@pytest.fixture(scope="session")
def searched(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A finished search."""
    return commands.run("search", tmp_path_factory.mktemp("search") / "run", "seed=3")


@pytest.fixture(scope="session")
def retrained(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A finished retraining with all that the recipe of a real one has."""
    folder = tmp_path_factory.mktemp("retrain") / "run"
    return commands.run("retrain", folder, "genotype=DARTS_V2", "epochs=3", "dataset.samples=128")
