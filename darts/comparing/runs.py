"""Ordinary commands in processes of their own, each run once however often a comparison is resumed."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from darts.tracking.files import read_json
from darts.training.device import gpu_in_turn
from darts.training.run_directory import DIVERGED

_POLL = 0.2  # seconds


class RunFailed(Exception):
    """A run that ended without a summary."""


class RunStopped(Exception):
    """A run that was asked to save and leave, or that did not begin for that reason."""


class RunLauncher:
    """Starts runs, and can ask those that are under way to leave.

    Args:
        workers: runs at the same time, who share the threads of this process unless
            ``OMP_NUM_THREADS`` says how many each has, and take its GPUs in turn.

    Attributes:
        sources: of joules, that runs have told of.
    """

    def __init__(self, workers: int) -> None:
        self._environment = dict(os.environ)
        threads = max(1, torch.get_num_threads() // workers)
        self._environment.setdefault("OMP_NUM_THREADS", str(threads))
        self._own = [gpu_in_turn(n) if workers > 1 else {} for n in range(workers)]
        self._lock = threading.Lock()
        self.sources: set[str] = set()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def stop(self) -> None:
        """Ask all to save and leave, and begin no more."""
        with self._lock:
            told, self._stopped = self._stopped, True
            for process in () if told else self._running:
                process.terminate()

    def __call__(self, command: str, directory: Path, overrides: Sequence[str]) -> dict[str, Any]:
        """The summary of a run, which is resumed if it was begun and read if it is complete.

        What it prints goes to a file beside its directory.

        Args:
            command: ``search`` or ``retrain``.
            directory: of the run.
            overrides: of the command.

        Raises:
            RunFailed: if it ended with an error.
            Stopped: if it was asked to leave.
        """
        with self._alone(directory) as held:
            if not is_complete(directory):
                self._run(command, directory, overrides, held)
        summary = read_summary(directory)
        with self._lock:
            self.sources.add(str(summary.get("joules_source")))
        return summary

    def _run(
        self, command: str, directory: Path, overrides: Sequence[str], held: BinaryIO | None
    ) -> None:
        words = list(overrides)
        if (directory / "overrides.json").exists():
            words = [f"resume={directory}"]
        else:
            words.append(f"hydra.run.dir={directory}")
        with log_file(directory).open("ab") as log:
            log.write(f"{shell_command(command, words)}\n".encode())
            log.flush()
            with self._lock:
                if self._stopped:
                    raise RunStopped
                own = self._own.pop(0)  # of as many as there may be at the same time
                process = subprocess.Popen(
                    [*command_arguments(command), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**self._environment, **own},
                    pass_fds=() if held is None else (held.fileno(),),
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
                self._own.insert(0, own)
        if is_complete(directory):
            return
        if self._stopped:
            raise RunStopped
        said = log_file(directory).read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(said) if line.strip()), "")
        raise RunFailed(f"ended with code {code}: {last.strip()} (see {log_file(directory)})")

    @contextlib.contextmanager
    def _alone(self, directory: Path) -> Iterator[BinaryIO | None]:
        """Wait until no other process is at a run.

        The lock is inherited by the run's process. Where a comparison was killed, its runs may still go
        on, and a comparison that is resumed waits for them instead of doing the same beside them.
        """
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield None
            return
        with directory.with_name(f"{directory.name}.lock").open("wb") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._stopped:
                        raise RunStopped from None
                    time.sleep(_POLL)
            yield file


def command_arguments(command: str) -> list[str]:
    """What starts a command."""
    return [sys.executable, "-m", f"darts.{command}"]


def shell_command(command: str, overrides: Sequence[str]) -> str:
    """A command line that can be copied."""
    return " ".join(["python -m", f"darts.{command}", *map(shlex.quote, overrides)])


def is_complete(directory: Path) -> bool:
    """Whether a run has come to its end."""
    return (directory / "summary.json").exists()


def read_summary(directory: Path) -> dict[str, Any]:
    """The summary of a complete run."""
    summary: dict[str, Any] = read_json(directory / "summary.json")
    return summary


def read_divergence(directory: Path) -> dict[str, Any] | None:
    """Of a run that diverged: ``why``, and what it has cost; None of others."""
    file = directory / DIVERGED
    if is_complete(directory) or not file.exists():
        return None
    bill: dict[str, Any] = read_json(file)
    return bill


def log_file(directory: Path) -> Path:
    """What a run has printed."""
    return directory.with_name(f"{directory.name}.log")
