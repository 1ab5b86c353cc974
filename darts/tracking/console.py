"""Console output of a running command: a progress bar on a terminal, log lines elsewhere.

Everything is escaped here, because names and messages may contain untrusted text.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from darts.escaping import for_terminal
from darts.log_mode import log_mode
from darts.tracking.formats import format_duration, format_value
from darts.writing import to_jsonable

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType
    from rich.live import Live

_LOG_INTERVAL = 30.0  # seconds between log lines within an epoch
_DRAW_INTERVAL = 0.1  # seconds between redraws of the bar


class Console:
    """Progress and messages of a command on standard output, as a context manager.

    ``done`` of the ``total_steps`` of the whole run were taken before this process started.
    """

    def __init__(self, *, total_steps: int, name: str, done: int = 0) -> None:
        self._mode = log_mode()
        self._total, self._done, self._name = total_steps, done, name
        self._taken = 0  # steps in this process, including those that are repeated
        self._fields: dict[str, object] = {}
        self._live: Live | None = None
        self._rich: RichConsole | None = None
        if is_terminal(sys.stdout):
            import rich.console

            self._rich = rich.console.Console(file=sys.stdout, force_terminal=True)
        self._start = self._drawn = self._logged = time.monotonic()

    def __enter__(self) -> Console:
        if self._rich is not None:
            from rich.live import Live

            # step() redraws the bar; no thread of rich does. Data loaders fork their workers,
            # and a worker can hang if another thread holds a lock at the time of the fork.
            self._live = Live(console=self._rich, get_renderable=self._draw, auto_refresh=False)
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None

    def step(self, n: int = 1, **fields: object) -> None:
        """Count ``n`` steps that have just ended, and show the fields from now on.

        A negative ``n`` takes back steps that have to be repeated. A field is a name with a value,
        for example ``loss=0.3``.
        """
        self._done += n
        self._taken += max(n, 0)
        self._fields.update(fields)
        if self._live is None:
            self._log_if_due()
        elif time.monotonic() - self._drawn >= _DRAW_INTERVAL:
            self._redraw(self._live)

    def status(self, text: str) -> None:
        """Show on the bar what happens between steps; an empty text ends it."""
        self._fields.pop("now", None)
        if text:
            self._fields["now"] = text
        if self._live is not None:
            self._redraw(self._live)
        elif text:
            self._log_if_due()

    def epoch(self, number: int, total: int, **scores: object) -> None:
        """Report that epoch ``number`` (from 1) of ``total`` has ended with these scores."""
        epoch = {"epoch": f"{number}/{total}"}
        # The first operand puts the epoch at the start of the line, the last one sets its value.
        self._fields = epoch | self._fields | scores | epoch
        if self._live is not None:
            self._redraw(self._live)
        else:
            self._log({**epoch, **scores})
            # Log lines until the end of the next epoch belong to that epoch.
            self._fields["epoch"] = f"{min(number + 1, total)}/{total}"

    def info(self, message: str) -> None:
        """Print a message, on a terminal above the bar."""
        if self._mode != "quiet":
            self._print(message, style=None)

    def warn(self, message: str) -> None:
        """Print a warning, even if quiet."""
        self._print(f"warning: {message}", style="yellow")

    def _print(self, message: str, style: str | None) -> None:
        if self._rich is not None:
            # With soft_wrap the terminal wraps long lines, not rich. A command that is copied from
            # the terminal then contains no line breaks.
            text = _escape(message)
            self._rich.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        elif self._mode == "json":
            self._write_json({"message": message})
        else:
            self._write_line(message)

    def _redraw(self, live: Live) -> None:
        live.refresh()
        self._drawn = time.monotonic()

    def _log_if_due(self) -> None:
        """Log all fields but the genotype, which is long and changes once per epoch."""
        if time.monotonic() - self._logged >= _LOG_INTERVAL:
            self._log({key: value for key, value in self._fields.items() if key != "genotype"})

    def _log(self, fields: Mapping[str, object]) -> None:
        self._logged = time.monotonic()
        left = self._seconds_left()
        if self._mode == "json":
            self._write_json({**fields, "percent": self._percent(), "seconds_left": left})
        elif self._mode != "quiet":
            line = f"{_join(fields)}  {self._percent()} % left {format_duration(left)}"
            self._write_line(line)

    def _write_json(self, values: Mapping[str, object]) -> None:
        time_of_day = time.strftime("%Y-%m-%dT%H:%M:%S")
        _write_json({"time": time_of_day, "command": self._name, **values})

    def _write_line(self, text: str) -> None:
        # Flush, so that `tail -f` shows the line, and a kill does not lose it.
        print(f"{time.strftime('%H:%M:%S')} {_escape(text)}", flush=True)

    def _seconds_left(self) -> float | None:
        """Return the estimated seconds left, or None before the first step."""
        if not self._taken:
            return None
        left, elapsed = max(self._total - self._done, 0), time.monotonic() - self._start
        return left * elapsed / self._taken

    def _percent(self) -> int:
        return min(100 * self._done // self._total, 100) if self._total else 100

    def _draw(self) -> RenderableType:
        """Return the bar, then a line of fields, then the genotype with one line per cell."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1), expand=True)
        for _ in range(6):
            row.add_column(no_wrap=True)
        row.columns[1].ratio = 1
        row.add_row(
            Text(self._name, style="bold"),
            ProgressBar(total=max(self._total, 1), completed=min(self._done, self._total)),
            Text(f"{self._percent()} %", style="magenta"),
            f"{self._done:,}/{self._total:,}",
            Text(f"left {format_duration(self._seconds_left())}", style="cyan"),
            Text(f"elapsed {format_duration(time.monotonic() - self._start)}", style="dim"),
        )
        fields = {key: value for key, value in self._fields.items() if key != "genotype"}
        lines: list[RenderableType] = [row]
        if fields:
            line = _escape(_join(fields))
            lines.append(Text(line, no_wrap=True, overflow="ellipsis"))
        if "genotype" in self._fields:
            genotype = format_value("genotype", self._fields["genotype"])
            for cell in _escape(genotype).split(" / "):
                lines.append(Text(cell, style="green", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


def print_summary(title: str, rows: Mapping[str, object]) -> None:
    """Print names and formatted values below a title, in aligned lines."""
    if log_mode() == "json":
        _write_json({"summary": title, **rows})
        return
    width = max(map(len, rows), default=0)
    print_lines(
        title, *(f"{name:<{width}}  {format_value(name, value)}" for name, value in rows.items())
    )


def print_lines(*lines: str) -> None:
    """Print lines of text, for example a command to copy."""
    mode = log_mode()
    if mode == "json":
        _write_json({"message": "\n".join(lines).strip()})
    elif mode != "quiet":
        print(*map(_escape, lines), sep="\n", flush=True)


def _write_json(values: Mapping[str, object]) -> None:
    """Write an object in ASCII, so that it needs no further escaping."""
    plain = {
        name: format_value(name, value) if hasattr(value, "cells") else value  # a genotype
        for name, value in values.items()
    }
    print(json.dumps(to_jsonable(plain), allow_nan=False), flush=True)


def is_terminal(stream: TextIO) -> bool:
    """Return whether the stream is a terminal on which bars and tables can be drawn."""
    return log_mode() == "auto" and stream.isatty() and os.environ.get("TERM", "") != "dumb"


def _escape(text: str) -> str:
    return for_terminal(text, encoding=getattr(sys.stdout, "encoding", None) or "utf-8")


def _join(fields: Mapping[str, object]) -> str:
    return " ".join(f"{key} {format_value(key, value)}" for key, value in fields.items())
