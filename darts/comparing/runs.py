"""Runs of commands as subprocesses. A resumed comparison does not repeat complete runs."""

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
from typing import BinaryIO

import torch

from darts.config import ConfigError, require_plain_overrides
from darts.reading import JsonObject
from darts.running.jobs import is_complete, log_file, read_summary
from darts.spaces.module import is_allowed
from darts.training.device import round_robin_gpu
from darts.writing import open_in_place

_POLL = 0.2  # seconds


class RunFailed(Exception):
    """A run ended without a summary, or its results cannot be used; the message says why."""


class RunStopped(Exception):
    """A run was asked to save its state and exit, or was not started after ``RunLauncher.stop``."""


class RunLauncher:
    """Starts runs, and can stop those in progress. Several threads may call it.

    The runs are distributed over the GPUs of this process. They share its threads, unless
    ``OMP_NUM_THREADS`` sets the number of threads of each run. At most ``workers`` runs are
    simultaneous.

    Attributes:
        sources: Sources of the joules of all runs so far.
    """

    def __init__(self, workers: int) -> None:
        self._environment = dict(os.environ)
        threads = max(1, torch.get_num_threads() // workers)
        self._environment.setdefault("OMP_NUM_THREADS", str(threads))
        # For each idle worker, the environment variables that select its GPU.
        self._idle_gpus = [round_robin_gpu(n) if workers > 1 else {} for n in range(workers)]
        self._lock = threading.Lock()
        self.sources: set[str] = set()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def stop(self) -> None:
        """Ask all running commands to save their state and exit, and start no more."""
        with self._lock:
            if not self._stopped:
                for process in self._running:
                    process.terminate()
            self._stopped = True

    def __call__(self, command: str, directory: Path, overrides: Sequence[str]) -> JsonObject:
        """Start or resume a run unless it is complete, wait for its end, and return its summary.

        The output of the run is appended to a log file next to its directory. A resumed run keeps
        its own overrides. Raise RunFailed if the run ended with an error, and RunStopped if
        ``stop`` was called.
        """
        require_plain_overrides(command, overrides)
        # Overrides may come from the directory of a comparison, which may be untrusted. The new
        # process would assume that its user has set ``space.target``, and import what it names.
        for override in overrides:
            key, _, target = override.lstrip("+").partition("=")
            if key.startswith("space.target") and not is_allowed(target.strip("'\"")):
                raise ConfigError(
                    f"{override}: a run directory cannot start code; repeat the key on the command "
                    "line of the resumed comparison"
                )
        with self._exclusive(directory) as lock_file:
            if not is_complete(directory):
                self._run(command, directory, overrides, lock_file)
        summary = read_summary(directory)
        with self._lock:
            self.sources.add(str(summary.get("joules_source")))
        return summary

    def _run(
        self, command: str, directory: Path, overrides: Sequence[str], lock_file: BinaryIO | None
    ) -> None:
        if (directory / "config.yaml").exists():
            arguments = [f"resume={directory}"]
        else:
            arguments = [*overrides, f"hydra.run.dir={directory}"]
        with open_in_place(log_file(directory)) as log:
            log.write(f"{shell_command(command, arguments)}\n".encode())
            log.flush()
            with self._lock:
                if self._stopped:
                    raise RunStopped
                gpu = self._idle_gpus.pop(0)
                process = subprocess.Popen(
                    [*command_arguments(command), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**self._environment, **gpu},
                    pass_fds=() if lock_file is None else (lock_file.fileno(),),
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
                self._idle_gpus.insert(0, gpu)
        if is_complete(directory):
            return
        if self._stopped:
            raise RunStopped
        output = log_file(directory).read_text(encoding="utf-8", errors="replace").strip()
        last = output.rpartition("\n")[2]
        raise RunFailed(f"exit code {code}: {last.strip()} (see {log_file(directory)})")

    @contextlib.contextmanager
    def _exclusive(self, directory: Path) -> Iterator[BinaryIO | None]:
        """Wait until no other process executes this run, and hold its lock in a ``with`` block.

        The process of the run inherits the lock file, and with it the lock. If a comparison is
        killed, its runs continue, and the resumed comparison waits for them instead of starting
        them a second time. The value is None on Windows, which lacks these locks.
        """
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # Windows
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
    """Return the program and the arguments that execute a command, without overrides."""
    return [sys.executable, "-m", f"darts.{command}"]


def shell_command(command: str, overrides: Sequence[str]) -> str:
    """Return the command line of a command for a shell."""
    return " ".join(["python -m", f"darts.{command}", *map(shlex.quote, overrides)])
