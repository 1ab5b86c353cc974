"""What commands print: ``log=MODE`` on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

LOG_VARIABLE = "DARTS_LOG"  # passes the mode on to the worker processes of a command
# auto: a progress bar on a terminal, lines elsewhere; plain: always lines; quiet: warnings and
# errors only; json: one JSON object per line.
MODES = ("auto", "plain", "quiet", "json")


def log_mode() -> str:
    """Return the mode of this process."""
    return os.environ.get(LOG_VARIABLE, MODES[0])


def take_log_mode(arguments: Sequence[str]) -> list[str]:
    """Set the mode that ``log=MODE`` in the arguments names; return the other arguments."""
    for argument in arguments:
        if argument.startswith("log="):
            mode = argument.removeprefix("log=")
            if mode not in MODES:
                raise ValueError(f"log={mode}: choose from {', '.join(MODES)}")
            os.environ[LOG_VARIABLE] = mode
    return [argument for argument in arguments if not argument.startswith("log=")]


@contextmanager
def redirected(file: TextIO) -> Iterator[None]:
    """Send stdout and stderr to a file, also from libraries in C++ and child processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    try:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        with redirect_stdout(file), redirect_stderr(file):
            yield
    finally:
        for number, descriptor in zip((1, 2), saved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
