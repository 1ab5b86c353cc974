"""Write files so that a kill at any moment leaves either the old or the new content.

The content goes to a temporary file in the same folder, which is synced to disk and renamed to the
final name. A file that cannot be written raises a ``WriteError``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias

from darts.reading import StrPath, one_line

# A value that JSON can represent.
Jsonable: TypeAlias = "dict[str, Jsonable] | list[Jsonable] | str | int | float | bool | None"

_USER_ERRORS = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
    errno.ENXIO,  # the file is a socket
}
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


class WriteError(OSError):
    """A file cannot be written; the message is one line and names it."""

    def __str__(self) -> str:
        return str(self.strerror)  # without the error number


def is_machine_failure(error: OSError) -> bool:
    """Return whether an error is a failure of the machine, for example a full disk.

    Other errors come from a path or a permission, which the user can change.
    """
    return error.errno is not None and error.errno not in _USER_ERRORS


@contextlib.contextmanager
def open_atomically(path: StrPath) -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` when the context ends without an exception.

    The folder is created if it is missing. After an exception, the temporary file is removed and
    ``path`` stays as it was.
    """
    target = Path(path)
    with write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # The process ID separates the temporary files of processes that write the same target.
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)


@contextlib.contextmanager
def write_errors(path: StrPath) -> Iterator[None]:
    """Add the name of a file to errors that occur while it is written."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        message = f"cannot write {os.fspath(path)}: {error.strerror or one_line(error)}"
        raise WriteError(error.errno, message) from error


def _sync_folder(folder: Path) -> None:
    """Sync the rename itself to disk, where the system allows it."""
    # Windows cannot open folders, and some network file systems cannot sync them. The rename is
    # atomic there too, but a power failure may undo it.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: StrPath, data: bytes | str) -> None:
    """Replace the content of ``path``, with text in UTF-8; create its folder if it is missing."""
    if isinstance(data, str):
        # A file name that is not UTF-8 becomes text with lone surrogates, which UTF-8 lacks.
        data = data.encode("utf-8", errors="backslashreplace")
    with open_atomically(path) as handle:
        handle.write(data)


def open_in_place(path: StrPath) -> BinaryIO:
    """Open a regular file to read it and to append to it; create it if it is missing.

    A symbolic link is not followed: in an untrusted directory it could point to any file of
    the user.
    """
    flags = ("O_APPEND", "O_CREAT", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    options = sum(getattr(os, flag, 0) for flag in flags)  # different bits
    with write_errors(path):
        descriptor = os.open(path, os.O_RDWR | options, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
        return os.fdopen(descriptor, "r+b")


def remove_temporary_files(folder: StrPath) -> None:
    """Remove the temporary files of killed processes; call it only as the owner of the folder."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry)


def to_jsonable(obj: object) -> Jsonable:
    """Convert ``obj`` to JSON's types: dict, list, str, int, float, bool and None.

    NaN and infinity become None, paths strings, and dataclasses dictionaries. NumPy and PyTorch
    scalars and arrays are converted by their method ``tolist()``.
    """
    if obj is None or isinstance(obj, (bool, int, str)):
        return obj
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, Mapping):
        return {str(key): to_jsonable(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [to_jsonable(value) for value in obj]
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {f.name: to_jsonable(getattr(obj, f.name)) for f in dataclasses.fields(obj)}
    if isinstance(obj, os.PathLike):
        return str(os.fspath(obj))
    if hasattr(obj, "tolist"):
        return to_jsonable(obj.tolist())
    raise TypeError(f"cannot store a {type(obj).__name__} as JSON: {obj!r}")


def write_json(path: StrPath, obj: object) -> None:
    """Write ``obj`` to ``path`` atomically as indented JSON, converted by ``to_jsonable``."""
    text = json.dumps(to_jsonable(obj), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")
