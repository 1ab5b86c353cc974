"""A CSV file with all scalars of a run, for spreadsheets and pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from darts.escaping import for_csv
from darts.reading import read_text
from darts.tracking.trackers.tracker import TRACKERS, TrackedRun, Tracker
from darts.writing import write_atomically

FILE = "scalars.csv"
HEADER = ("step", "tag", "value")
_LIMIT = 2**30  # bytes


@TRACKERS.register
class ScalarTable(Tracker):
    """``scalars.csv`` in the run directory: one row for each step and tag.

    The scores of the complete run have tags that begin with ``result/``.
    """

    name: ClassVar[str] = "csv"

    def __init__(self, run: TrackedRun) -> None:
        self._path = run.directory / FILE
        kept = [] if run.resumed_at is None else list(_rows(self._path, run.resumed_at))
        self._last = run.resumed_at or 0
        write_atomically(self._path, _text([HEADER, *kept]))

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._append(step, scalars)
        self._last = max(self._last, step)

    def log_results(self, metrics: Mapping[str, float]) -> None:
        self._append(self._last, {f"result/{name}": value for name, value in metrics.items()})

    def _append(self, step: int, scalars: Mapping[str, float]) -> None:
        rows = [(str(step), for_csv(tag), repr(value)) for tag, value in scalars.items()]
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(_text(rows))


def _rows(path: Path, last: int) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a file whose step is at most ``last``.

    Skip a last row that is incomplete because the run was killed. Without a file, yield nothing.
    """
    try:
        text = read_text(path, limit=_LIMIT)
    except FileNotFoundError:
        return
    for row in csv.reader(text.splitlines(keepends=True)):
        if len(row) == len(HEADER) and row[0].isdecimal() and int(row[0]) <= last:
            yield tuple(row)


def _text(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
