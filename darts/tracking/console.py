"""What a running command tells: a progress bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from darts.tracking.formats import format_value, format_duration

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType


class RemainingTime:
    """Estimate the time left from the steps done by this process.

    Seconds per step are a mean in which a step's influence fades over half the time run so far
    (30 seconds at least): slow first steps are soon forgotten, and the work between epochs, which
    counts towards the step after it, does not make the estimate swing.

    Args:
        remaining: steps still to do when this process begins.
        clock: seconds, from any origin.
    """

    def __init__(self, remaining: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.remaining = remaining
        self._clock = clock
        self._begin = self._last = clock()
        self._seconds = self._steps = 0.0

    def advance(self, steps: int) -> None:
        """Count steps that ended now."""
        now = self._clock()
        passed = now - self._last
        fade = math.exp(-passed / max(30.0, (now - self._begin) / 2))
        self._seconds = self._seconds * fade + passed
        self._steps = self._steps * fade + steps
        self._last = now
        self.remaining = max(self.remaining - steps, 0)

    def elapsed(self) -> float:
        """Seconds since this process began."""
        return self._clock() - self._begin

    def left(self) -> float | None:
        """Seconds left, or None before the first step."""
        return self.remaining * self._seconds / self._steps if self._steps > 0 else None


class Console:
    """Progress of a command, as a context manager.

    Args:
        total_steps: steps of the whole run, those before a resume included.
        name: what is running, "search" say.
        done: steps done before this process began.
        quiet: say nothing but warnings.
        stream: where to write, standard output by default.
        clock, now: sources of time, for tests.
    """

    _log_every = 30.0  # seconds between log lines within an epoch
    _draw_every = 0.1  # seconds between drawings of the bar

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
            raise ValueError(f"done={done} must lie between 0 and total_steps={total_steps}")
        self._total, self._done, self._name, self._quiet = total_steps, done, name, quiet
        self._stream = sys.stdout if stream is None else stream
        self._clock, self._now = clock, now
        self._pace = RemainingTime(total_steps - done, clock=clock)
        self._fields: dict[str, Any] = {}
        self._live: Any = None
        self._rich: RichConsole | None = None
        if is_terminal(self._stream):
            self._rich = _rich_console(self._stream)
        self._drawn = self._logged = clock()

    def __enter__(self) -> Console:
        self._pace = RemainingTime(self._total - self._done, clock=self._clock)
        self._drawn = self._logged = self._clock()
        if self._rich is not None and not self._quiet:
            from rich.live import Live

            # Drawn from step(), not from rich's own thread: loaders fork their workers, and a
            # fork while another thread holds a lock can hang the worker.
            own = self._stream in (sys.stdout, sys.stderr)
            self._live = Live(
                console=self._rich,
                get_renderable=self._draw,
                auto_refresh=False,
                redirect_stdout=own,
                redirect_stderr=own,
            )
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None

    def step(self, n: int = 1, **fields: Any) -> None:
        """Count `n` steps that ended now, and show the fields (loss=0.3, ...) from now on."""
        self._done += n
        self._pace.advance(n)
        self._fields.update(fields)
        now = self._clock()
        if self._live is not None:
            if now - self._drawn >= self._draw_every:
                self._live.refresh()
                self._drawn = now
        elif now - self._logged >= self._log_every:
            # The genotype changes by the epoch and is long, so the epoch's own line has it.
            self._log({key: value for key, value in self._fields.items() if key != "genotype"})

    def epoch(self, number: int, total: int, **scores: Any) -> None:
        """Say that epoch `number` (from 1) of `total` has ended with these scores."""
        # First in the line, wherever the fields before had it.
        self._fields = {"epoch": f"{number}/{total}", **self._fields, **scores}
        self._fields["epoch"] = f"{number}/{total}"
        if self._live is not None:
            self._live.refresh()
            self._drawn = self._clock()
        else:
            self._log({"epoch": f"{number}/{total}", **scores})
            # Until the next epoch ends, log lines are about the one that has begun.
            self._fields["epoch"] = f"{min(number + 1, total)}/{total}"

    def say(self, message: str) -> None:
        """Print a message, above the bar on a terminal."""
        if not self._quiet:
            self._print(message, style=None)

    def warn(self, message: str) -> None:
        """Print a warning, even if quiet."""
        self._print(f"warning: {message}", style="yellow")

    def _print(self, message: str, style: str | None) -> None:
        if self._rich is not None:
            # soft_wrap leaves line breaks to the terminal, so that a command copies as one line.
            self._rich.print(message, style=style, markup=False, highlight=False, soft_wrap=True)
        else:
            self._line(message)

    def _log(self, fields: Mapping[str, Any]) -> None:
        self._logged = self._clock()
        if not self._quiet:
            self._line(f"{_join(fields)}  {self._percent()} % left {format_duration(self._pace.left())}")

    def _line(self, text: str) -> None:
        self._stream.write(f"{self._now():%H:%M:%S} {text}\n")
        self._stream.flush()  # a log that is followed, or lost with a kill, should be complete

    def _percent(self) -> int:
        return min(100 * self._done // self._total, 100) if self._total else 100

    def _draw(self) -> RenderableType:
        """The bar, below it the fields, below them the genotype, which takes a line or two."""
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
            Text(f"left {format_duration(self._pace.left())}", style="cyan"),
            Text(f"elapsed {format_duration(self._pace.elapsed())}", style="dim"),
        )
        fields = {key: value for key, value in self._fields.items() if key != "genotype"}
        lines: list[RenderableType] = [row]
        if fields:
            lines.append(Text(_join(fields), no_wrap=True, overflow="ellipsis"))
        if "genotype" in self._fields:
            for cell in format_value("genotype", self._fields["genotype"]).split(" / "):
                lines.append(Text(cell, style="green", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


def print_summary(title: str, rows: Mapping[str, object], *, stream: TextIO | None = None) -> None:
    """Print names and values below a title; see `display` for how the values are written."""
    stream = sys.stdout if stream is None else stream
    cells = {name: format_value(name, value) for name, value in rows.items()}
    if is_terminal(stream):
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(title), show_header=False, title_justify="left")
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(justify="left", overflow="fold")
        for name, value in cells.items():
            table.add_row(Text(name), Text(value))
        _rich_console(stream).print(table)
        return
    width = max(map(len, cells), default=0)
    lines = [title, *(f"{name:<{width}}  {value}" for name, value in cells.items())]
    stream.write("\n".join(lines) + "\n")
    stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream understands cursor movements: a terminal, and not a dumb one."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and os.environ.get("TERM", "") != "dumb"


def _rich_console(stream: TextIO) -> RichConsole:
    from rich.console import Console as RichConsole

    return RichConsole(file=stream, force_terminal=True)


def _join(fields: Mapping[str, Any]) -> str:
    return " ".join(f"{key} {format_value(key, value)}" for key, value in fields.items())
