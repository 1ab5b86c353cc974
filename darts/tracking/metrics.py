"""Metrics of a run as a file of JSON lines: each row is a JSON object on a line of its own.

A checkpoint stores the length of this file in bytes. A resumed run truncates the file to that
length and then repeats the work after the checkpoint, so no row appears twice.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from darts.reading import JsonObject
from darts.writing import to_jsonable


class MetricsLog:
    """An append-only file of JSON lines.

    Args:
        path: The file. Its folder is created if missing.
        resume_at: The ``offset`` in the checkpoint from which the run resumes. Rows after it are
            removed. None empties the file if it exists.

    Raises:
        ValueError: If the file is shorter than ``resume_at``, or no row ends there.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume_at: int | None = None) -> None:
        self.path = Path(path)
        if resume_at is not None:
            _check_offset(self.path, resume_at)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115 - stays open during the run
        self._file.truncate(resume_at or 0)
        self._file.seek(0, os.SEEK_END)

    def write(self, **row: object) -> None:
        """Append a row of values that ``to_jsonable`` accepts (NaN becomes null)."""
        text = json.dumps(to_jsonable(row), ensure_ascii=False, allow_nan=False)
        self._file.write(text.encode("utf-8") + b"\n")

    @property
    def offset(self) -> int:
        """Length of the file in bytes. Call ``sync`` before storing it in a checkpoint."""
        return self._file.tell()

    def sync(self) -> None:
        """Write all rows to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write all rows to disk and close the file. A second call does nothing."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_offset(path: Path, offset: int) -> None:
    """Raise ``ValueError`` unless ``offset`` is 0 or the end of a row."""
    size = path.stat().st_size if path.exists() else 0
    if not 0 <= offset <= size:
        raise ValueError(f"cannot resume {path} at byte {offset}: the file has {size} bytes")
    if offset > 0:
        with open(path, "rb") as file:
            file.seek(offset - 1)
            if file.read(1) != b"\n":
                raise ValueError(f"cannot resume {path} at byte {offset}: no row ends there")


def read_metrics(path: str | os.PathLike[str]) -> list[JsonObject]:
    """Return all rows of a metrics file. A last row that a kill left incomplete is skipped.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If another line is not a JSON object; the message names file and line.
    """
    lines = Path(path).read_bytes().split(b"\n")
    rows: list[JsonObject] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            if number == len(lines):  # no newline at its end: a kill interrupted the write
                break
            raise ValueError(f"{path}, line {number}: {error}") from None
        rows.append(row)
    return rows
