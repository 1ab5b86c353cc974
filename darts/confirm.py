"""Ask before a command without arguments starts work that takes long."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from darts.config import ConfigError
from darts.keys import YES
from darts.tracking import print_lines


def confirm(work: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command without ``yes=true``.

    Without arguments, print what the command would do, and ask; without a terminal, reject the
    call.

    Args:
        work: What the command does by default, and how long it takes.
        arguments: Overrides and flags of the command line.
    """
    if arguments:
        return [argument for argument in arguments if argument != YES]
    if not sys.stdin.isatty():
        raise ConfigError(f"without arguments, this {work}; add {YES} to start it")
    print_lines(f"Without arguments, this {work}.")
    print("Start? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SystemExit(0)
    return []
