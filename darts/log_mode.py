"""What commands print: ``log=MODE`` on the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence

VARIABLE = "DARTS_LOG"  # passes the mode on to the worker processes of a command
MODES = ("auto", "plain", "quiet", "json")
"""auto: a progress bar on a terminal, lines elsewhere; plain: always lines; quiet: warnings and
errors only; json: one JSON object per line."""


def log_mode() -> str:
    """Return the mode of this process."""
    return os.environ.get(VARIABLE, MODES[0])


def take_log_mode(arguments: Sequence[str]) -> list[str]:
    """Set the mode that ``log=MODE`` in the arguments names; return the other arguments."""
    for argument in arguments:
        if argument.startswith("log="):
            mode = argument.removeprefix("log=")
            if mode not in MODES:
                raise ValueError(f"log={mode}: choose from {', '.join(MODES)}")
            os.environ[VARIABLE] = mode
    return [argument for argument in arguments if not argument.startswith("log=")]
