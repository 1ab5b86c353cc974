"""What commands print: ``log=MODE`` on the command line, or the environment variable DARTS_LOG.

A variable reaches the worker processes of a command, and programs that call the Python functions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

VARIABLE = "DARTS_LOG"
MODES = ("auto", "plain", "quiet", "json")
"""auto: a progress bar on a terminal, lines elsewhere; plain: always lines; quiet: warnings and
errors only; json: one JSON object per line."""


def log_mode() -> str:
    """Return the mode of this process.

    Raises:
        ValueError: If the variable has another value.
    """
    mode = os.environ.get(VARIABLE) or MODES[0]
    if mode not in MODES:
        raise ValueError(f"{VARIABLE}={mode}: choose from {', '.join(MODES)}")
    return mode


def take_log_mode(arguments: Sequence[str]) -> list[str]:
    """Set the mode that ``log=MODE`` in the arguments names; return the other arguments.

    Raises:
        ValueError: If there is no such mode.
    """
    for argument in arguments:
        if argument.startswith("log="):
            mode = argument.removeprefix("log=")
            if mode not in MODES:
                raise ValueError(f"log={mode}: choose from {', '.join(MODES)}")
            os.environ[VARIABLE] = mode
    return [argument for argument in arguments if not argument.startswith("log=")]
