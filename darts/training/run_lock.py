"""Lock a run directory: at most one process owns it, also among machines that share its disk."""

from __future__ import annotations

import errno
import os
import socket
import time
import warnings
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO
from weakref import WeakSet

from darts.config import ConfigError
from darts.reading import FileError, read_text
from darts.writing import open_in_place, write_errors

LOCK_FILE = "run.lock"
_NAMING_SECONDS = 1.0  # longest time in which a new owner writes its name
_POLL_SECONDS = 0.05


class DirectoryInUse(ConfigError):
    """Another process, or another lock of this process, owns a run directory."""


class RunLock:
    """An exclusive lock on a run directory; the file ``run.lock`` names its owner.

    The operating system releases the lock when the process ends, however it ends, so a killed run
    can be resumed at once. ``release`` also removes the file.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        deadline = time.monotonic() + _NAMING_SECONDS
        while (file := self._try_lock()) is None:
            owner = _read_owner(self._path)
            if owner or time.monotonic() > deadline:
                raise DirectoryInUse(f"{directory} is in use by {owner or 'another process'}")
            time.sleep(_POLL_SECONDS)
        self._file = file
        _held.add(self)
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        name = f"process {os.getpid()} on {socket.gethostname()}, started {started}"
        with write_errors(self._path):
            file.truncate(0)
            file.write(name.encode(errors="backslashreplace"))
            file.flush()

    def _try_lock(self) -> BinaryIO | None:
        """Open and lock the file; return None if it is locked already, or was just removed."""
        file = open_in_place(self._path)
        try:
            _flock(file)
            # The owner may have removed the file after it was opened here.
            if os.fstat(file.fileno()).st_ino == os.stat(self._path).st_ino:
                return file
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                file.close()
                raise
            warnings.warn(
                f"{self._path.parent}: this file system has no locks; do not start a second "
                "process that writes to this run",
                stacklevel=4,
            )
            return file
        file.close()
        return None

    def release(self) -> None:
        """Remove the file and release the lock; a second call does nothing."""
        if not self._file.closed:
            with suppress(OSError):
                self._path.unlink()
            self._file.close()


def _flock(file: BinaryIO) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no flock; there the file only describes the owner
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_owner(path: Path) -> str:
    """Return the name of the owner; empty if it is missing or damaged."""
    try:
        return " ".join(read_text(path, limit=4096).split())
    except (FileError, OSError):
        return ""


def _close_in_fork() -> None:
    """Close the locks in a fork: a loader process of a killed run must not keep its directory."""
    for lock in _held:
        lock._file.close()


_held: WeakSet[RunLock] = WeakSet()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_close_in_fork)
