"""The numbers of a run as JSON lines, one row a line, in the order in which they were written.

A checkpoint stores the length of the file at its moment. A resumed run cuts the file back to that
length, so that rows which the killed run wrote after the checkpoint are not there twice.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from darts.tracking.files import to_jsonable


class MetricsLog:
    """An append-only file of JSON lines.

    Args:
        path: the file; its folder is created if need be.
        resume_at: the `offset` stored in the checkpoint that the run goes on from. Rows behind it
            are cut off. None starts an empty file, whatever was there before.

    Raises:
        ValueError: if the file is shorter than `resume_at`, or does not have a row ending there.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume_at: int | None = None) -> None:
        self.path = Path(path)
        if resume_at is not None:
            _check_offset(self.path, resume_at)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115 - open for the life of the run
        self._file.truncate(resume_at or 0)
        self._file.seek(0, os.SEEK_END)

    def write(self, **row: Any) -> None:
        """Append one row; values as for `darts.tracking.files.plain` (NaN becomes null)."""
        text = json.dumps(to_jsonable(row), ensure_ascii=False, allow_nan=False)
        self._file.write(text.encode("utf-8") + b"\n")

    @property
    def offset(self) -> int:
        """Bytes written so far. Call `sync` before storing it in a checkpoint."""
        return self._file.tell()

    def sync(self) -> None:
        """Force everything written so far to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close the file; closing twice is allowed."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_offset(path: Path, offset: int) -> None:
    """Refuse an offset at which `path` cannot have been cut by a checkpoint."""
    size = path.stat().st_size if path.exists() else 0
    if not 0 <= offset <= size:
        raise ValueError(f"cannot resume {path} at byte {offset}: the file has {size} bytes")
    if offset > 0:
        with open(path, "rb") as file:
            file.seek(offset - 1)
            if file.read(1) != b"\n":
                raise ValueError(f"cannot resume {path} at byte {offset}: no row ends there")


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read all rows of a metrics file; a last line torn by a kill is left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: one line naming the file and the line, if any other line is not a JSON object.
    """
    lines = Path(path).read_bytes().split(b"\n")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            if number == len(lines):  # nothing ends the last piece, so it was cut while written
                break
            raise ValueError(f"{path}, line {number}: {error}") from None
        rows.append(row)
    return rows
