"""Atomic file writes and JSON.

A run can be killed at any moment. Every file that a later run reads is therefore written to a
temporary file in the same folder, synced to disk and renamed to its final name.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""A decoded JSON object: one row of metrics, a summary, ..."""

Jsonable: TypeAlias = "dict[str, Jsonable] | list[Jsonable] | str | int | float | bool | None"


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` when the ``with`` block ends without an exception.

    If the block raises, ``path`` stays as it was. The folder is created if missing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The process ID gives each process that writes the same target its own temporary file.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to disk, where the system supports it."""
    # Otherwise a power failure may undo a rename. Windows cannot open folders, and some network
    # file systems cannot sync them; a rename is atomic there too, but not safe from power failures.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Replace the content of ``path`` with ``data``; text is encoded as UTF-8.

    The folder is created if missing.
    """
    with open_atomically(path) as handle:
        handle.write(data.encode("utf-8") if isinstance(data, str) else data)


def to_jsonable(obj: object) -> Jsonable:
    """Convert an object to the types of JSON: dict, list, str, int, float, bool and None.

    NaN and infinity become None, because JSON has neither. Numpy arrays and torch tensors become
    lists, their scalars numbers, and paths and the keys of mappings text.

    Raises:
        TypeError: If the object contains another type.
    """
    if obj is None or isinstance(obj, (bool, int, str)):
        return obj
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, Mapping):
        return {str(key): to_jsonable(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [to_jsonable(value) for value in obj]
    if isinstance(obj, os.PathLike):
        return str(os.fspath(obj))
    if hasattr(obj, "tolist"):
        return to_jsonable(obj.tolist())
    raise TypeError(f"cannot store a {type(obj).__name__} as JSON: {obj!r}")


def write_json(path: str | os.PathLike[str], obj: object) -> None:
    """Write an object atomically as indented JSON, after ``to_jsonable`` has converted it."""
    text = json.dumps(to_jsonable(obj), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If its content is not JSON; the message names the file.
    """
    data = Path(path).read_bytes()
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None
