"""Rows of a run as files: metrics as JSON lines, and tables of results as CSV.

A checkpoint stores the length of the metrics in bytes. A resumed run truncates the file to this
length and then repeats the work after the checkpoint, so no row appears twice.
"""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from darts.escaping import for_csv
from darts.reading import MIB, FileError, JsonObject, StrPath, parse_json, read_bytes
from darts.writing import open_in_place, to_jsonable, write_atomically, write_errors

LIMIT = 64 * MIB  # bytes of a file whose rows are read into memory


class MetricsLog:
    """An append-only file of JSON lines; its folder is created if missing.

    ``resume_at`` is the ``offset`` in the checkpoint from which the run resumes. Rows after it are
    removed. Raise FileError if the file is shorter.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume_at: int = 0) -> None:
        self.path = Path(path)
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < resume_at:
            raise FileError(
                f"cannot resume {self.path} at byte {resume_at}: the file has {size} bytes"
            )
        with write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_in_place(self.path)
            self._file.truncate(resume_at)
            self._file.seek(resume_at)

    def write(self, **row: object) -> None:
        """Append a row of values that ``to_jsonable`` accepts (NaN becomes null)."""
        text = json.dumps(to_jsonable(row), ensure_ascii=False, allow_nan=False)
        with write_errors(self.path):
            self._file.write(text.encode("utf-8", errors="backslashreplace") + b"\n")

    @property
    def offset(self) -> int:
        """Length of the file in bytes. Call ``sync`` before storing it in a checkpoint."""
        return self._file.tell()

    def sync(self) -> None:
        """Write all rows to disk."""
        with write_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write all rows to disk and close the file. A second call does nothing."""
        if not self._file.closed:
            try:
                self.sync()
            finally:
                with write_errors(self.path):
                    self._file.close()


def read_metrics(path: StrPath, *, limit: int = LIMIT) -> list[JsonObject]:
    """Return all rows of a metrics file. A last row that a kill left incomplete is skipped.

    Raise FileError if the file has more than ``limit`` bytes, or another line is not a JSON object.
    """
    lines = read_bytes(path, limit=limit).split(b"\n")
    rows: list[JsonObject] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line.decode("utf-8"))
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            if number == len(lines):  # no newline at its end: a kill interrupted the write
                break
            raise FileError(f"{path}, line {number}: {error}") from None
        rows.append(row)
    return rows


def mean_curve(runs: Sequence[Path]) -> dict[int, dict[str, float]]:
    """Return the means of the validation scores of some run directories, by epoch and name."""
    curves = [_scores_by_epoch(run) for run in runs]
    return {
        epoch: {
            key: statistics.fmean(curve[epoch][key] for curve in curves)
            for key in curves[0][epoch]
            if all(key in curve[epoch] for curve in curves)
        }
        for epoch in sorted(set.intersection(*(set(curve) for curve in curves)))
    }


def _scores_by_epoch(run: Path) -> dict[int, dict[str, float]]:
    """Return the validation scores of each epoch, by name."""
    scores = {
        int(row["epoch"]): {
            key: float(value)
            for key, value in row.items()
            if key.startswith("valid_") and isinstance(value, int | float)
        }
        for row in read_metrics(run / "metrics.jsonl")
    }
    return {epoch: own for epoch, own in scores.items() if own}


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV; a missing value is an empty field."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if "failure" in columns:  # the longest text is the last column
        columns.append(columns.pop(columns.index("failure")))
    cells = [[row.get(name, "") for name in columns] for row in rows]
    write_atomically(path, csv_text([columns, *cells]))


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows, the first of which is the header, as text of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(map(for_csv, row) for row in rows)
    return text.getvalue()
