"""Commands that run in new processes instead of forks, for tests of signals and locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


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
