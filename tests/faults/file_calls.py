"""Watch the file-system calls of a process, and kill or disturb the process at one of them.

``watch`` replaces functions of ``os`` for the rest of the process; call it in a fork. Files are
then opened by ``_pyio``, the slow implementation of ``io``, which reads and writes with these
functions. SQLite writes its files without them, so each of its statements counts as a call.
"""

from __future__ import annotations

import _pyio
import builtins
import errno
import functools
import hashlib
import io
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITES = {"create", "write", "fsync", "truncate", "replace", "mkdir", "sql write", "commit"}
READS = {"open", "read", "list", "sql read"}


@dataclass(frozen=True)
class Call:
    """One file-system call, before it happens."""

    number: int  # counted from 0
    kind: str  # "write", "fsync", ...
    path: str  # relative to the watched folder
    descriptor: int | None = None
    data: bytes = b""  # what a write is about to write

    def __str__(self) -> str:
        return f"{self.number} ({self.kind} {self.path})"


# Receives each call before it happens, and may raise an error instead.
Watcher = Callable[[Call], None]


_REAL = {name: getattr(os, name) for name in ("open", "write", "close")}


def watch(root: Path, watcher: Watcher) -> None:
    """Report each call below ``root`` to the watcher, from now on."""
    prefix = os.path.realpath(root)
    paths: dict[int, str] = {}  # of open files, by descriptor
    count = 0
    busy = threading.local()  # the watcher's own calls are not reported

    def inside(path: object) -> str | None:
        if isinstance(path, int):
            return paths.get(path)
        try:
            full = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        except TypeError:
            return None
        if full != prefix and not full.startswith(prefix + os.sep):
            return None
        return os.path.relpath(full, prefix)

    def report(kind: str, path: str, descriptor: int | None = None, data: Any = b"") -> None:
        nonlocal count
        if getattr(busy, "now", False):
            return
        busy.now = True
        number, count = count, count + 1
        try:
            watcher(Call(number, kind, path, descriptor, bytes(data)))
        finally:
            busy.now = False

    def reported(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if (name := inside(path)) is not None:
                is_descriptor = isinstance(path, int)
                data = arguments[0] if kind == "write" else b""
                report(kind, name, path if is_descriptor else None, data)
            return function(path, *arguments, **options)

        return call

    def open_file(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if (name := inside(path)) is not None:
            creates = flags & os.O_CREAT and not os.path.exists(path)
            report("create" if creates else "open", name)
        descriptor: int = _REAL["open"](path, flags, *arguments, **options)
        if name is not None:
            paths[descriptor] = name
        return descriptor

    def close(descriptor: int) -> None:
        paths.pop(descriptor, None)
        _REAL["close"](descriptor)

    kinds = {"write": "write", "read": "read", "fsync": "fsync", "ftruncate": "truncate"}
    kinds |= {"truncate": "truncate", "replace": "replace", "rename": "replace"}
    kinds |= {"unlink": "unlink", "remove": "unlink", "mkdir": "mkdir", "rmdir": "rmdir"}
    kinds |= {"scandir": "list", "listdir": "list"}
    for name, kind in kinds.items():
        setattr(os, name, reported(kind, getattr(os, name)))
    os.open, os.close = open_file, close
    builtins.open = io.open = _pyio.open  # type: ignore[assignment]
    _watch_sqlite(inside, report)


def _watch_sqlite(inside: Callable[[object], str | None], report: Callable[..., None]) -> None:
    connect = sqlite3.connect

    def kind_of(statement: str) -> str:
        verb = statement.split(None, 1)[0].upper()
        return "sql read" if verb in ("SELECT", "PRAGMA") else "sql write"

    def watched_connect(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
        path = inside(str(database).removeprefix("file:").partition("?")[0])
        if path is None:
            return connect(database, *arguments, **options)

        class Cursor(sqlite3.Cursor):
            def execute(self, statement: str, *parameters: Any) -> Any:
                report(kind_of(statement), path)
                return super().execute(statement, *parameters)

        class Connection(sqlite3.Connection):
            def cursor(self, *_: Any) -> Any:
                return super().cursor(Cursor)

            def execute(self, statement: str, *parameters: Any) -> Any:
                return self.cursor().execute(statement, *parameters)

            def commit(self) -> None:
                report("commit", path)
                super().commit()

        return connect(database, *arguments, factory=Connection, **options)

    sqlite3.connect = sqlite3.dbapi2.connect = watched_connect  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Kill:
    """Kills this process before a call, or in the middle of it if it is a write."""

    number: int
    torn: bool = False  # whether a write writes half of its bytes before the kill

    def __call__(self, call: Call) -> None:
        if call.number == self.number:
            if self.torn and call.kind == "write" and call.descriptor is not None:
                _REAL["write"](call.descriptor, call.data[: len(call.data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Send:
    """Sends a signal to this process before a call, which then happens."""

    number: int
    signal: int

    def __call__(self, call: Call) -> None:
        if call.number == self.number:
            os.kill(os.getpid(), self.signal)


@dataclass(frozen=True)
class Fail:
    """Makes a call fail. With ``errno.ENOSPC``, a full disk, all later writes also fail."""

    number: int
    code: int  # ``errno`` of the error, for example ``errno.EIO``

    def __call__(self, call: Call) -> None:
        full = self.code == errno.ENOSPC
        later = full and call.number > self.number and call.kind in WRITES
        if call.number == self.number or later:
            if "sql" in call.kind or call.kind == "commit":
                text = "database or disk is full" if full else "disk I/O error"
                raise sqlite3.OperationalError(text)
            raise OSError(self.code, os.strerror(self.code), call.path)


@dataclass
class Recorder:
    """Remembers all calls."""

    calls: list[Call] = field(default_factory=list)

    def __call__(self, call: Call) -> None:
        self.calls.append(Call(call.number, call.kind, call.path))


@dataclass
class Snapshots:
    """Copies the folder before each call, as a kill at this moment would leave it.

    For a write there is a second copy, into which half of its bytes have been written (torn). Equal
    states are copied once.
    """

    root: Path  # the watched folder
    store: Path  # folder of the copies
    # By name of each copy, the first call before which the folder was in this state.
    calls: dict[str, str] = field(default_factory=dict)
    count: int = 0  # crash points, equal states included
    skipped: str = ""  # calls for paths that begin with this text are not crash points
    _seen: set[str] = field(default_factory=set)

    def __call__(self, call: Call) -> None:
        if self.skipped and call.path.startswith(self.skipped):
            return
        self._keep(f"{call.number:04d}", str(call))
        if call.kind == "write" and len(call.data) > 1:
            self._keep(f"{call.number:04d}-torn", f"{call}, torn", call)

    def _keep(self, name: str, title: str, torn: Call | None = None) -> None:
        self.count += 1
        half = b"" if torn is None else torn.data[: len(torn.data) // 2]
        content = _content(self.root) if torn is None else f"{_content(self.root)} {torn.number}"
        if content in self._seen:
            return
        self._seen.add(content)
        copy = self.store / name
        shutil.copytree(self.root, copy, symlinks=True)
        if torn is not None:
            offset = os.lseek(torn.descriptor or 0, 0, os.SEEK_CUR)
            with open(copy / torn.path, "r+b") as file:
                file.seek(offset)
                file.write(half)
        self.calls[name] = title


def _content(root: Path) -> str:
    """Return a hash of the names and bytes of all files except the lock."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != "run.lock":
            total.update(f"{path} {path.stat().st_size} ".encode() + path.read_bytes())
        elif path.is_dir():
            total.update(f"{path}/".encode())
    return total.hexdigest()
