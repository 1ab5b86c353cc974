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
    """Open a binary file that replaces `path` when the block ends without an exception.

    If the block raises, the temporary file is removed and `path` stays as it was.
    """
    target = Path(path)
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
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Sync the rename itself to disk, where the system can open a folder."""
    # Windows cannot open folders, and some network file systems cannot sync them. The rename is
    # atomic there too, but may be lost in a power failure.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Replace the content of `path` with `data` (text as UTF-8); create its folder if missing."""
    with open_atomically(path) as handle:
        handle.write(data.encode("utf-8") if isinstance(data, str) else data)


def to_jsonable(obj: object) -> Jsonable:
    """Convert `obj` to JSON's types: dict, list, str, int, float, bool and None.

    NaN and infinity become None. Objects with `tolist()` (numpy and torch scalars and arrays) are
    converted with it, and paths become text. Other types raise ``TypeError``.
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
    """Write `obj` to `path` atomically as indented JSON, converted by `to_jsonable`."""
    text = json.dumps(to_jsonable(obj), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; raise ``ValueError`` with its name if its content is not JSON."""
    data = Path(path).read_bytes()
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None
