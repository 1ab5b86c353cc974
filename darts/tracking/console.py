"""Progress of a running command: a bar on a terminal and in a notebook, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from darts.log_mode import log_mode
from darts.tracking.formats import format_duration, format_value
from darts.tracking.log import Entry, escaped, is_terminal, log, shows_progress

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.table import Table

_LOG_INTERVAL = 30.0  # seconds between log lines within an epoch
_DRAW_INTERVAL = 0.1  # seconds between redraws of the bar


class Console:
    """Progress and messages of a command, as a context manager.

    ``done`` of the ``total_steps`` of the whole run were taken before this process started.
    """

    def __init__(self, *, total_steps: int, name: str, done: int = 0) -> None:
        self._total, self._done, self._name = total_steps, done, name
        self._taken = 0  # steps in this process, including those that are repeated
        self._fields: dict[str, object] = {}
        self._refresh: Callable[[], object] | None = None  # draws the bar
        self._stack = ExitStack()
        self._rich: RichConsole | None = None
        if shows_progress() and is_terminal(sys.stdout):
            import rich.console

            self._rich = rich.console.Console(file=sys.stdout, force_terminal=True)
        self._start = self._drawn = self._logged = time.monotonic()

    def __enter__(self) -> Console:
        if self._rich is not None:
            from rich.live import Live

            # step() redraws the bar; no thread of rich does. Data loaders fork their workers,
            # and a worker can hang if another thread holds a lock at the time of the fork.
            live = Live(console=self._rich, get_renderable=self._draw, auto_refresh=False)
            self._refresh = self._stack.enter_context(live).refresh
            self._refresh()
        elif shows_progress() and log_mode() == "auto" and is_notebook():
            from IPython.display import display

            # Live itself needs the package ipywidgets in a notebook.
            cell: Any = display(self._draw(), display_id=True)  # type: ignore[no-untyped-call]
            self._refresh = lambda: cell.update(self._draw())
        return self

    def __exit__(self, *_: object) -> None:
        if self._refresh is not None:
            self._refresh()
            self._refresh = None
        self._stack.close()

    def step(self, n: int = 1, **fields: object) -> None:
        """Count ``n`` steps that have just ended, and show the fields from now on.

        A negative ``n`` takes back steps that have to be repeated. A field is a name with a value,
        for example ``loss=0.3``.
        """
        self._done += n
        self._taken += max(n, 0)
        self._fields.update(fields)
        if self._refresh is None:
            self._log_if_due()
        elif time.monotonic() - self._drawn >= _DRAW_INTERVAL:
            self._redraw(self._refresh)

    def status(self, text: str) -> None:
        """Show on the bar what happens between steps; an empty text ends it."""
        self._fields.pop("now", None)
        if text:
            self._fields["now"] = text
        if self._refresh is not None:
            self._redraw(self._refresh)
        elif text:
            self._log_if_due()

    def epoch(self, number: int, total: int, **scores: object) -> None:
        """Report that epoch ``number`` (from 1) of ``total`` has ended with these scores."""
        epoch = {"epoch": f"{number}/{total}"}
        # The first operand puts the epoch at the start of the line, the last one sets its value.
        self._fields = epoch | self._fields | scores | epoch
        if self._refresh is not None:
            self._redraw(self._refresh)
        else:
            self._log({**epoch, **scores})
            # Log lines until the end of the next epoch belong to that epoch.
            self._fields["epoch"] = f"{min(number + 1, total)}/{total}"

    def info(self, message: str) -> None:
        """Log a message; a terminal shows it above the bar."""
        self._log_message(logging.INFO, message)

    def warn(self, message: str) -> None:
        """Log a warning, which is shown even if quiet."""
        self._log_message(logging.WARNING, message)

    def _log_message(self, level: int, message: str) -> None:
        log(Entry([message], self._name, stamped=True, rich=self._rich), level)

    def _redraw(self, refresh: Callable[[], object]) -> None:
        refresh()
        self._drawn = time.monotonic()

    def _log_if_due(self) -> None:
        """Log all fields but the genotype, which is long and changes once per epoch."""
        if time.monotonic() - self._logged >= _LOG_INTERVAL:
            self._log({key: value for key, value in self._fields.items() if key != "genotype"})

    def _log(self, fields: Mapping[str, object]) -> None:
        self._logged = time.monotonic()
        left = self._seconds_left()
        line = f"{_join(fields)}  {self._percent()} % done, {format_duration(left)} left"
        values = {**fields, "percent": self._percent(), "seconds_left": left}
        log(Entry([line], self._name, values, stamped=True))

    def _seconds_left(self) -> float | None:
        """Return the estimated seconds left, or None before the first step."""
        if not self._taken:
            return None
        left, elapsed = max(self._total - self._done, 0), time.monotonic() - self._start
        return left * elapsed / self._taken

    def _percent(self) -> int:
        return min(100 * self._done // self._total, 100) if self._total else 100

    def _draw(self) -> Table:
        """Return the bar, then a line of fields, then the genotype with one line per cell."""
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
        lines = Table.grid(expand=True)  # unlike a group, a notebook can show it
        lines.add_column(no_wrap=True, overflow="ellipsis")
        lines.add_row(row)
        fields = {key: value for key, value in self._fields.items() if key != "genotype"}
        if fields:
            lines.add_row(Text(escaped(_join(fields))))
        if "genotype" in self._fields:
            genotype = format_value("genotype", self._fields["genotype"])
            for cell in escaped(genotype).split(" / "):
                lines.add_row(Text(cell, style="green"))
        return lines


def is_notebook() -> bool:
    """Return whether standard output is shown by a Jupyter kernel."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


def _join(fields: Mapping[str, object]) -> str:
    return " ".join(f"{key} {format_value(key, value)}" for key, value in fields.items())
