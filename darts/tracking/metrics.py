"""Metrics of a run as a file of JSON lines: each row is a JSON object on a line of its own.

The last key of a row, ``chain``, is a hash of the row and of all rows before it, so that a row
which is changed, removed or moved is noticed. A checkpoint stores the length of this file in bytes
and its last hash. A resumed run truncates the file to that length and then repeats the work after
the checkpoint, so no row appears twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from darts.reading import (
    JSON_LIMIT,
    MIB,
    FileError,
    JsonObject,
    StrPath,
    open_regular,
    parse_json,
    read_bytes,
    read_errors,
)
from darts.writing import open_in_place, to_jsonable, write_errors

LIMIT = 64 * MIB  # bytes of a file whose rows are read into memory
_CHAIN = re.compile(rb'(?:, )?"chain": "([0-9a-f]{16})"\}')
_START = "0" * 16  # the hash before the first row


class Position(NamedTuple):
    """A point in a metrics file at which a run can resume."""

    offset: int  # bytes before it
    chain: str  # hash of the rows before it


class MetricsLog:
    """An append-only file of JSON lines.

    Args:
        path: The file. Its folder is created if missing.
        resume_at: The ``position`` in the checkpoint from which the run resumes. Rows after it are
            removed. None empties the file if it exists.

    Raises:
        FileError: If the rows before ``resume_at`` are not those that the run wrote.
        WriteError: If the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume_at: Position | None = None) -> None:
        self.path = Path(path)
        self._chain = _START
        if resume_at is not None:
            _check_position(self.path, resume_at)
            self._chain = resume_at.chain
        with write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_in_place(self.path)
            self._file.truncate(0 if resume_at is None else resume_at.offset)
            self._file.seek(0, os.SEEK_END)

    def write(self, **row: object) -> None:
        """Append a row of values that ``to_jsonable`` accepts (NaN becomes null).

        Raises:
            WriteError: If the disk is full or fails.
        """
        text = json.dumps(to_jsonable(row), ensure_ascii=False, allow_nan=False)
        body = text.encode("utf-8", errors="backslashreplace")
        self._chain = _next_chain(self._chain, body)
        separator = b", " if row else b""
        with write_errors(self.path):
            self._file.write(body[:-1] + separator + f'"chain": "{self._chain}"}}\n'.encode())

    @property
    def position(self) -> Position:
        """Length and last hash of the file. Call ``sync`` before storing it in a checkpoint."""
        return Position(self._file.tell(), self._chain)

    def sync(self) -> None:
        """Write all rows to disk.

        Raises:
            WriteError: If the disk is full or fails.
        """
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

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _next_chain(chain: str, body: bytes) -> str:
    return hashlib.sha256(chain.encode() + body).hexdigest()[:16]


def _check_position(path: Path, position: Position) -> None:
    """Raise ``FileError`` unless the file holds the rows that lead to ``position``."""
    if not path.exists():
        raise FileError(f"cannot resume {path}: the file is missing")
    chain, number, remaining = _START, 0, position.offset
    with read_errors(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not 0 <= position.offset <= size:
            raise FileError(
                f"cannot resume {path} at byte {position.offset}: the file has {size} bytes"
            )
        while remaining > 0:
            line, number = file.readline(min(remaining, JSON_LIMIT)), number + 1
            if not line.endswith(b"\n"):
                raise FileError(
                    f"cannot resume {path} at byte {position.offset}: no row ends there"
                )
            remaining -= len(line)
            chain = _parse_row(path, number, line[:-1], chain)[1]
    if chain != position.chain:
        raise FileError(f"cannot resume {path}: its rows are not those of the checkpoint")


def read_metrics(path: StrPath, *, limit: int = LIMIT) -> list[JsonObject]:
    """Return all rows of a metrics file. A last row that a kill left incomplete is skipped.

    Raises:
        OSError: If the file cannot be read.
        FileError: If the file has more than ``limit`` bytes, another line is not a JSON object, or
            a row was changed; the message names file and line.
    """
    lines = read_bytes(path, limit=limit).split(b"\n")
    rows: list[JsonObject] = []
    chain = _START
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row, chain = _parse_row(Path(path), number, line, chain)
        except FileError:
            if number == len(lines):  # no newline at its end: a kill interrupted the write
                break
            raise
        rows.append(row)
    return rows


def _parse_row(path: Path, number: int, line: bytes, chain: str) -> tuple[JsonObject, str]:
    """Return a row without its hash, and the hash.

    Rows of other programs have no hash; they may not follow a row that has one.
    """
    try:
        row = parse_json(line.decode("utf-8"))
        if not isinstance(row, dict):
            raise ValueError("not a JSON object")
    except ValueError as error:
        raise FileError(f"{path}, line {number}: {error}") from None
    match = _CHAIN.search(line, len(line) - 60)
    if match is None:
        if chain != _START:
            raise FileError(f"{path}, line {number}: the row has no hash; it was changed")
        return row, chain
    del row["chain"]
    expected = _next_chain(chain, line[: match.start()] + b"}")
    if match.end() != len(line) or match[1].decode() != expected:
        raise FileError(f"{path}, line {number}: the row, or one before it, was changed")
    return row, expected
