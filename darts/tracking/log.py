"""The logger ``darts``, and the handler that writes its records to standard output.

Everything is escaped here, because names and messages may contain untrusted text.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from darts.escaping import for_terminal
from darts.log_mode import log_mode
from darts.tracking.formats import format_value
from darts.writing import to_jsonable

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

LOGGER = logging.getLogger("darts")


@dataclass(frozen=True)
class Entry:
    """What a command logs; the attribute ``entry`` of a record.

    Attributes:
        lines: Lines of text, not yet escaped.
        command: Name of the command, if a record of ``log=json`` names it.
        values: Named values that ``log=json`` writes in place of the lines.
        stamped: Whether the time of day precedes the text.
        rich: The terminal with the bar above which the text appears.
    """

    lines: Sequence[str]
    command: str | None = None
    values: Mapping[str, object] | None = None
    stamped: bool = False
    rich: RichConsole | None = None


class ConsoleHandler(logging.Handler):
    """Writes records to standard output in the form that ``log=MODE`` chooses."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. A record without an ``entry``, for example of a plug-in, is one line."""
        entry = getattr(record, "entry", None) or Entry([record.getMessage()], stamped=True)
        warns, mode = record.levelno >= logging.WARNING, log_mode()
        lines = [f"warning: {line}" for line in entry.lines] if warns else entry.lines
        if mode == "json":
            _write_json(entry, "\n".join(lines).strip())
        elif entry.rich is not None:
            # With soft_wrap the terminal wraps long lines, not rich. A command that is copied from
            # the terminal then contains no line breaks.
            text, style = "\n".join(map(escaped, lines)), "yellow" if warns else None
            entry.rich.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        elif warns or mode != "quiet":
            text = "\n".join(map(escaped, lines))
            stamp = f"{time.strftime('%H:%M:%S')} " if entry.stamped else ""
            # Flush, so that `tail -f` shows the line, and a kill does not lose it.
            print(f"{stamp}{text}", flush=True)


def _write_json(entry: Entry, message: str) -> None:
    """Write an object in ASCII, so that it needs no further escaping."""
    values = {"message": message} if entry.values is None else entry.values
    if entry.command is not None:
        time_of_day = time.strftime("%Y-%m-%dT%H:%M:%S")
        values = {"time": time_of_day, "command": entry.command, **values}
    plain = {
        name: format_value(name, value) if hasattr(value, "cells") else value  # a genotype
        for name, value in values.items()
    }
    print(json.dumps(to_jsonable(plain), allow_nan=False), flush=True)


_HANDLER = ConsoleHandler()
LOGGER.addHandler(_HANDLER)
LOGGER.propagate = False  # a handler of the root logger would write each record a second time
if LOGGER.level == logging.NOTSET:
    LOGGER.setLevel(logging.INFO)


def log(entry: Entry, level: int = logging.INFO) -> None:
    """Log an entry with the logger ``darts``; its message is escaped for other handlers."""
    LOGGER.log(level, "%s", "\n".join(map(for_terminal, entry.lines)), extra={"entry": entry})


def print_lines(*lines: str) -> None:
    """Log lines of text, for example a command to copy."""
    log(Entry(lines))


def print_summary(title: str, rows: Mapping[str, object]) -> None:
    """Log names and formatted values below a title, in aligned lines."""
    width = max(map(len, rows), default=0)
    lines = [f"{name:<{width}}  {format_value(name, value)}" for name, value in rows.items()]
    log(Entry([title, *lines], values={"summary": title, **rows}))


def shows_progress() -> bool:
    """Return whether the logger writes progress to standard output."""
    return _HANDLER in LOGGER.handlers and LOGGER.isEnabledFor(logging.INFO)


def is_terminal(stream: TextIO) -> bool:
    """Return whether the stream is a terminal on which bars and tables can be drawn."""
    return log_mode() == "auto" and stream.isatty() and os.environ.get("TERM", "") != "dumb"


def escaped(text: str) -> str:
    """Return text as one line of standard output, without control characters."""
    return for_terminal(text, encoding=getattr(sys.stdout, "encoding", None) or "utf-8")
