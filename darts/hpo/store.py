"""The database of a study: an SQLite file in the run directory, or a database server.

With a server, several machines can work on the same study.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from optuna.storages import RDBStorage

from darts.hpo.study_file import check_study_file
from darts.reading import one_line
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
    """Open the database of a study, or create an SQLite file.

    Args:
        url: SQLAlchemy URL, for example ``sqlite:///tune.db`` or ``postgresql://...``.
        heartbeat: Seconds between heartbeats of a running trial.
    """
    file = _sqlite_file(url)
    try:
        if file is not None:
            check_study_file(file)
            _create_with_write_ahead_log(file)
        with silence_optuna_warnings():
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": _TIMEOUT}} if file is not None else {},
                heartbeat_interval=heartbeat,
            )
    except Exception as error:  # every database driver raises its own types
        raise ValueError(f"storage={url!r} cannot be opened: {one_line(error)}") from None
    if file is not None:
        _configure_connections(storage)
    return storage


def _sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite URL, or None for another database."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        return None  # Optuna describes the error
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(parsed.database) if is_file and parsed.database else None


def _create_with_write_ahead_log(file: Path) -> None:
    """Create an SQLite file that readers and one writer may use at the same time.

    The write-ahead log is switched on before the first table exists, so no table is created with a
    rollback journal.
    """
    if not file.exists() or not file.stat().st_size:
        with contextlib.closing(sqlite3.connect(file, timeout=_TIMEOUT)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def _configure_connections(storage: RDBStorage) -> None:
    """Set options of all new connections to an SQLite file.

    A process that is killed at any moment loses no stored trial. SQLite rarely syncs the file to
    disk, so the last trials may be missing after a power failure, but the file stays consistent.

    Every transaction takes the write lock of the file when it begins. To claim a trial, Optuna
    reads its state and then changes it, and relies on a lock of the row. SQLite has no such locks,
    so without the write lock two workers could claim the same trial.
    """
    from sqlalchemy import Connection, event

    def configure(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None  # otherwise, a transaction begins with its first write
        for option in ("journal_mode=WAL", "synchronous=NORMAL", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {option}").close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", configure)
    event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn an error of SQLite that the disk causes into an error with a one-line message."""
    try:
        yield
    except Exception as error:
        failure = machine_failure(error)
        if failure is None:
            raise
        reason, number = failure
        raise WriteError(number, f"cannot write storage={url!r}: {reason}") from error


def machine_failure(error: BaseException) -> tuple[str, int] | None:
    """Return message and ``errno`` of a failure of the machine in a database error, or None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.Error):
            text = str(cause).lower()
            for message, number in _MACHINE_FAILURES.items():
                if message in text:
                    return message, number
        cause = cause.__cause__ or cause.__context__
    return None
