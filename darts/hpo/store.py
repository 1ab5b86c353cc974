"""The database of a study: an SQLite file in the run directory, or a database server.

With a server, several machines can work on the same study.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from optuna.storages import RDBStorage

from darts.reading import FileError, one_line
from darts.strategies.strategy import silence_optuna_warnings
from darts.writing import WriteError

_TIMEOUT = 60  # seconds to wait for the lock of an SQLite file
_MACHINE_FAILURES = {  # errno by message of SQLite
    "database or disk is full": errno.ENOSPC,
    "disk i/o error": errno.EIO,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EIO,
    "database is locked": errno.EAGAIN,
}


def open_storage(url: str, *, heartbeat: int) -> RDBStorage:
    """Open the database of a study, or create an SQLite file; ValueError if that is impossible.

    ``url`` is for SQLAlchemy, for example ``sqlite:///tune.db`` or ``postgresql://...``. A running
    trial sends a heartbeat every ``heartbeat`` seconds.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    try:
        parsed = make_url(url)
        database, is_sqlite = parsed.database, parsed.get_backend_name() == "sqlite"
        file = Path(database) if database and is_sqlite else None
        if file is not None:
            _check_file(file)
        # A server gets a connection per transaction, because it may end those that wait.
        options = {"poolclass": NullPool} if file is None else {"creator": partial(_connect, file)}
        with silence_optuna_warnings():
            storage = RDBStorage(url, engine_kwargs=options, heartbeat_interval=heartbeat)
    except Exception as error:  # every database driver raises its own types
        raise ValueError(f"storage={url!r} cannot be opened: {one_line(error)}") from None
    if file is not None:
        # Every transaction takes the write lock of the file when it begins. To claim a trial,
        # Optuna reads its state and then changes it, and relies on a lock of the row. SQLite has no
        # such locks, so without the write lock two workers could claim the same trial.
        event.listen(storage.engine, "begin", lambda own: own.exec_driver_sql("BEGIN IMMEDIATE"))
    return storage


def _check_file(path: Path) -> None:
    """Raise FileError for what SQLite should not open; a missing or empty file is valid."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not a regular file")
    # SQLite deletes files that a rollback journal names. A study uses a write-ahead log, so such a
    # journal is left only by a process that was killed while it created the file.
    journal = Path(f"{path}-journal")
    if path.exists() and path.stat().st_size and journal.exists() and journal.stat().st_size:
        raise FileError(
            f"{journal} shows that the creation of the study was interrupted; delete it and "
            f"{path}, and start a new study"
        )


def _connect(file: Path) -> sqlite3.Connection:
    """Connect to an SQLite file; threads share the connection.

    With a write-ahead log, readers and one writer may use the file at the same time, and no table
    has a rollback journal. A process that is killed at any moment loses no stored trial. SQLite
    rarely syncs the file to disk, so the last trials may be missing after a power failure, but the
    file stays consistent.
    """
    # Without an isolation level, no transaction begins by itself with its first write.
    connection = sqlite3.connect(
        file, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    for option in ("journal_mode=WAL", "synchronous=NORMAL", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {option}").close()
    return connection


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Raise WriteError with a one-line message for an error that the study did not cause.

    The disk may be full, fail or be read-only, the SQLite file may stay locked, or the database
    server may have ended.
    """
    try:
        yield
    except Exception as error:
        failure = machine_failure(error)
        if failure is None:
            raise
        reason, number = failure
        raise WriteError(number, f"cannot write storage={url!r}: {reason}") from error


def machine_failure(error: BaseException) -> tuple[str, int] | None:
    """Return message and ``errno`` of a failure of disk or server in a database error, or None."""
    from sqlalchemy.exc import OperationalError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OperationalError) and not isinstance(cause.orig, sqlite3.Error):
            return one_line(cause.orig or cause), errno.EIO
        if isinstance(cause, sqlite3.Error):
            text = str(cause).lower()
            for message, number in _MACHINE_FAILURES.items():
                if message in text:
                    return message, number
        cause = cause.__cause__ or cause.__context__
    return None
