"""Checks of an SQLite file before Optuna opens it: the file may be untrusted or damaged.

An SQLite file can contain code: triggers, views, expressions in indexes and virtual tables run when
its tables are used. Only the tables and indexes that Optuna creates are therefore allowed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from darts.reading import MIB, FileError, one_line, open_regular

SIZE_LIMIT = 256 * MIB  # bytes; enough for 10,000 trials of a large space
_HEADER = b"SQLite format 3\0"

_Schema: TypeAlias = "set[tuple[str, str, str, str]]"


def check_study_file(path: Path) -> None:
    """Check an SQLite file and its log files next to it; a missing or empty file is valid."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        _check_kind_and_size(Path(f"{path}{suffix}"))
    if not path.exists():
        return
    # SQLite deletes files that a rollback journal names. A study uses a write-ahead log, so such a
    # journal is left only by a process that was killed while it created the file.
    journal = Path(f"{path}-journal")
    if journal.exists() and journal.stat().st_size:
        raise FileError(
            f"{journal} shows that the creation of the study was interrupted; delete it and "
            f"{path}, and start a new study"
        )
    with open_regular(path) as file:
        header = file.read(len(_HEADER))
    if not header:
        return
    if header != _HEADER:
        raise FileError(f"{path} is not a database of SQLite")
    try:
        uri = f"file:{quote(str(path.absolute()))}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            _check_schema(path, connection)
            ((result,), *_) = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if "malformed" not in str(error):
            raise  # for example a full disk, or a lock that is held too long
        raise FileError(f"{path} is damaged: {one_line(error)}") from None
    except sqlite3.Error as error:
        raise FileError(f"{path} is damaged: {one_line(error)}") from None
    if result != "ok":
        raise FileError(f"{path} is damaged: {' '.join(str(result).split())[:200]}")


def _check_kind_and_size(path: Path) -> None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path} is not a regular file")
    if found.st_size > SIZE_LIMIT:
        raise FileError(f"{path} is too large: more than {SIZE_LIMIT:,} bytes")


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    expected = _optunas_schema()
    # Another process may be about to create the tables, so some may be missing.
    for kind, name, table, text in sorted(_schema(connection)):
        if (kind, name, table, text) not in expected:
            raise FileError(
                f"{path} has the {kind} {name[:80]!r}, which is not part of a study of this "
                "version of Optuna"
            )


def _schema(connection: sqlite3.Connection) -> _Schema:
    """Return type, name, table and SQL definition of each table, index, view and trigger."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return {
        (str(kind), str(name), str(table), " ".join(str(text or "").split()))
        for kind, name, table, text in rows
    }


@cache
def _optunas_schema() -> _Schema:
    """Return the schema that Optuna creates, taken from a new database in memory."""
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import StaticPool

    storage = RDBStorage("sqlite://", engine_kwargs={"poolclass": StaticPool})
    try:
        with storage.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            return _schema(raw)
    finally:
        storage.remove_session()
        storage.engine.dispose()
