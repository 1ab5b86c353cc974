"""Lock a run directory: at most one process owns it, also among machines that share its disk."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from darts.config import ConfigError
from darts.reading import read_json_object
from darts.typed_values import typed
from darts.writing import open_in_place, write_errors

LOCK_FILE = "run.lock"
_ORPHAN_SECONDS = 15.0  # loader processes of a killed run hold its lock until they notice its end
_POLL_SECONDS = 0.1


class DirectoryInUse(ConfigError):
    """Another process, or another lock of this process, owns a run directory."""


@dataclass(frozen=True)
class _Owner:
    """A process that owns a run directory: the content of the lock file."""

    host: str
    pid: Annotated[int, msgspec.Meta(gt=0)]
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, started {self.started}"


class RunLock:
    """An exclusive lock on a run directory; the file ``run.lock`` describes its owner.

    The operating system releases the lock when the process ends, however it ends, so a killed run
    can be resumed at once. ``release`` also removes the file.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while (file := self._try_lock()) is None:
            owner = _read_owner(self._path)
            if (owner is not None and _is_alive(owner)) or time.monotonic() > deadline:
                raise DirectoryInUse(f"{directory} is in use by {owner or 'another process'}")
            time.sleep(_POLL_SECONDS)
        self._file = file
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        this = _Owner(socket.gethostname(), os.getpid(), started)
        with write_errors(self._path):
            file.truncate(0)
            file.write(json.dumps(asdict(this)).encode())
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


def _read_owner(path: Path) -> _Owner | None:
    """Return the owner that the file describes, or None if it is missing or damaged."""
    try:
        return typed(_Owner, read_json_object(path, limit=4096))
    except (ValueError, OSError):
        return None


def _is_alive(owner: _Owner) -> bool:
    """Return whether the owner may be running; True for another machine, where it is unknown."""
    if owner.host != socket.gethostname():
        return True
    try:
        os.kill(owner.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # the process belongs to another user
        return True
    return True
