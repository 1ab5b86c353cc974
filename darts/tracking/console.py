"""Console output of a running command: a progress bar on a terminal, log lines elsewhere.

Everything is escaped here, because names and messages may contain untrusted text.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from darts.escaping import for_terminal
from darts.log_mode import log_mode
from darts.tracking.formats import format_duration, format_value
from darts.writing import to_jsonable

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType
    from rich.live import Live


class RemainingTime:
    """Estimate of the time left, from the speed of the steps that this process has taken.

    The seconds per step are an exponentially weighted mean. Its time constant is half the elapsed
    time, but at least 30 seconds. Slow first steps therefore soon lose their weight, and the work
    between epochs, whose time counts toward the next step, hardly changes the estimate.

    Args:
        remaining_steps: Steps that are left when this process starts.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, remaining_steps: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.remaining_steps = remaining_steps
        self._clock = clock
        self._start = self._last = clock()
        self._weighted_seconds = self._weighted_steps = 0.0

    def advance(self, steps: int) -> None:
        """Count steps that have just ended; a negative number takes steps back."""
        now = self._clock()
        passed = now - self._last
        decay = math.exp(-passed / max(30.0, (now - self._start) / 2))
        self._weighted_seconds = self._weighted_seconds * decay + passed
        self._weighted_steps = self._weighted_steps * decay + max(steps, 0)
        self._last = now
        self.remaining_steps = max(self.remaining_steps - steps, 0)

    def elapsed(self) -> float:
        """Return the seconds since this object was created."""
        return self._clock() - self._start

    def seconds_left(self) -> float | None:
        """Return the estimated seconds left, or None before the first step."""
        if self._weighted_steps == 0:
            return None
        return self.remaining_steps * self._weighted_seconds / self._weighted_steps


class Console:
    """Progress and messages of a command, as a context manager.

    Args:
        total_steps: Steps of the whole run, including those before a resume.
        name: Name of the command, for example "search".
        done: Steps taken before this process started.
        quiet: Print only warnings, and no bar.
        stream: Where to print. Default: standard output.
        clock: Returns the time in seconds; tests replace it.
        now: Returns the time of day that log lines start with; tests replace it.

    Raises:
        ValueError: If ``done`` is negative or larger than ``total_steps``.
    """

    _log_interval = 30.0  # seconds between log lines within an epoch
    _draw_interval = 0.1  # seconds between redraws of the bar

    def __init__(
        self,
        *,
        total_steps: int,
        name: str,
        done: int = 0,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        if not 0 <= done <= total_steps:
            raise ValueError(f"done={done}: must be between 0 and total_steps={total_steps}")
        self._mode = log_mode()
        self._total, self._done, self._name = total_steps, done, name
        self._quiet = quiet or self._mode == "quiet"
        self._stream = sys.stdout if stream is None else stream
        self._clock, self._now = clock, now
        self._time = RemainingTime(total_steps - done, clock=clock)
        self._fields: dict[str, object] = {}
        self._live: Live | None = None
        self._rich = _rich_console(self._stream) if is_terminal(self._stream) else None
        self._drawn = self._logged = clock()

    def __enter__(self) -> Console:
        self._time = RemainingTime(self._total - self._done, clock=self._clock)
        self._drawn = self._logged = self._clock()
        if self._rich is not None and not self._quiet:
            from rich.live import Live

            # step() redraws the bar; no thread of rich does. Data loaders fork their workers,
            # and a worker can hang if another thread holds a lock at the time of the fork.
            redirect = self._stream in (sys.stdout, sys.stderr)
            self._live = Live(
                console=self._rich,
                get_renderable=self._draw,
                auto_refresh=False,
                redirect_stdout=redirect,
                redirect_stderr=redirect,
            )
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
        self._time.advance(n)
        self._fields.update(fields)
        now = self._clock()
        if self._live is not None:
            if now - self._drawn >= self._draw_interval:
                self._live.refresh()
                self._drawn = now
        elif now - self._logged >= self._log_interval:
            # The genotype is long and changes once per epoch: only the line of an epoch shows it.
            self._log({key: value for key, value in self._fields.items() if key != "genotype"})

    def status(self, text: str) -> None:
        """Show on the bar what happens between steps; an empty text ends it."""
        self._fields.pop("now", None)
        if text:
            self._fields["now"] = text
        if self._live is not None:
            self._live.refresh()
            self._drawn = self._clock()
        elif text and self._clock() - self._logged >= self._log_interval:
            self._log({key: value for key, value in self._fields.items() if key != "genotype"})

    def epoch(self, number: int, total: int, **scores: object) -> None:
        """Report that epoch ``number`` (from 1) of ``total`` has ended with these scores."""
        epoch = {"epoch": f"{number}/{total}"}
        # The first operand puts the epoch at the start of the line, the last one sets its value.
        self._fields = epoch | self._fields | scores | epoch
        if self._live is not None:
            self._live.refresh()
            self._drawn = self._clock()
        else:
            self._log({**epoch, **scores})
            # Log lines until the end of the next epoch belong to that epoch.
            self._fields["epoch"] = f"{min(number + 1, total)}/{total}"

    def info(self, message: str) -> None:
        """Print a message, on a terminal above the bar."""
        if not self._quiet:
            self._print(message, style=None)

    def warn(self, message: str) -> None:
        """Print a warning, even if quiet."""
        self._print(f"warning: {message}", style="yellow")

    def _print(self, message: str, style: str | None) -> None:
        if self._rich is not None:
            # With soft_wrap the terminal wraps long lines, not rich. A command that is copied from
            # the terminal then contains no line breaks.
            text = _escape(message, self._stream)
            self._rich.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        else:
            self._write_line(message)

    def _log(self, fields: Mapping[str, object]) -> None:
        self._logged = self._clock()
        if not self._quiet:
            if self._mode == "json":
                seconds = self._time.seconds_left()
                progress = {"percent": self._percent(), "seconds_left": seconds}
                self._write_json({**fields, **progress})
                return
            left = format_duration(self._time.seconds_left())
            self._write_line(f"{_join(fields)}  {self._percent()} % left {left}")

    def _write_json(self, values: Mapping[str, object]) -> None:
        time_of_day = self._now().isoformat(timespec="seconds")
        _write_json({"time": time_of_day, "command": self._name, **values}, self._stream)

    def _write_line(self, text: str) -> None:
        if self._mode == "json":
            self._write_json({"message": text})
            return
        self._stream.write(f"{self._now():%H:%M:%S} {_escape(text, self._stream)}\n")
        self._stream.flush()  # so that `tail -f` shows the line, and a kill does not lose it

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
            Text(f"left {format_duration(self._time.seconds_left())}", style="cyan"),
            Text(f"elapsed {format_duration(self._time.elapsed())}", style="dim"),
        )
        fields = {key: value for key, value in self._fields.items() if key != "genotype"}
        lines: list[RenderableType] = [row]
        if fields:
            line = _escape(_join(fields), self._stream)
            lines.append(Text(line, no_wrap=True, overflow="ellipsis"))
        if "genotype" in self._fields:
            genotype = format_value("genotype", self._fields["genotype"])
            for cell in _escape(genotype, self._stream).split(" / "):
                lines.append(Text(cell, style="green", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


def print_summary(title: str, rows: Mapping[str, object], *, stream: TextIO | None = None) -> None:
    """Print names and values below a title: a table on a terminal, aligned lines elsewhere.

    ``format_value`` formats the values. ``stream`` defaults to standard output.
    """
    stream = sys.stdout if stream is None else stream
    if (mode := log_mode()) in ("json", "quiet"):
        if mode == "json":
            _write_json({"summary": title, **rows}, stream)
        return
    cells = {
        _escape(name, stream): _escape(format_value(name, value), stream)
        for name, value in rows.items()
    }
    if is_terminal(stream):
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(_escape(title, stream)), show_header=False, title_justify="left")
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(justify="left", overflow="fold")
        for name, value in cells.items():
            table.add_row(Text(name), Text(value))
        _rich_console(stream).print(table)
        return
    width = max(map(len, cells), default=0)
    lines = [
        _escape(title, stream),
        *(f"{name:<{width}}  {value}" for name, value in cells.items()),
    ]
    stream.write("\n".join(lines) + "\n")
    stream.flush()


def print_lines(*lines: str, stream: TextIO | None = None) -> None:
    """Print lines of text, for example a command to copy, on standard output by default."""
    stream = sys.stdout if stream is None else stream
    if (mode := log_mode()) in ("json", "quiet"):
        if mode == "json":
            _write_json({"message": "\n".join(lines).strip()}, stream)
        return
    stream.write("".join(f"{_escape(line, stream)}\n" for line in lines))
    stream.flush()


def _write_json(values: Mapping[str, object], stream: TextIO) -> None:
    """Write an object in ASCII, so that it needs no further escaping."""
    plain = {
        name: format_value(name, value) if hasattr(value, "cells") else value  # a genotype
        for name, value in values.items()
    }
    stream.write(json.dumps(to_jsonable(plain), allow_nan=False) + "\n")
    stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Return whether the stream is a terminal on which bars and tables can be drawn."""
    isatty = getattr(stream, "isatty", None)
    return (
        log_mode() == "auto" and bool(isatty and isatty()) and os.environ.get("TERM", "") != "dumb"
    )


def _rich_console(stream: TextIO) -> RichConsole:
    from rich.console import Console as RichConsole

    return RichConsole(file=stream, force_terminal=True)


def _escape(text: str, stream: TextIO) -> str:
    return for_terminal(text, encoding=getattr(stream, "encoding", None) or "utf-8")


def _join(fields: Mapping[str, object]) -> str:
    return " ".join(f"{key} {format_value(key, value)}" for key, value in fields.items())
