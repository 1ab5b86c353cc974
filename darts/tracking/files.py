"""Files that are either the old version or the new one, never half of each.

A run can be killed at any moment, so everything that a later run reads is written to a temporary
file beside the target, forced to the disk and then renamed over the target in one step.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file whose content takes the place of `path` when the block ends well.

    If the block raises, the temporary file is removed and `path` is left as it was. Large objects
    can be written straight into the file: `with replacing(p) as f: torch.save(state, f)`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The process number keeps two processes that write the same target out of each other's file.
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
    """Force the rename itself to the disk, where the system can open a folder."""
    # Windows cannot open folders, and some network file systems refuse to sync them. The rename
    # is atomic there all the same; it is only not yet certain to outlive a power cut.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Replace the content of `path` by `data` (text is stored as UTF-8), creating its folder."""
    with open_atomically(path) as handle:
        handle.write(data.encode("utf-8") if isinstance(data, str) else data)


def to_jsonable(obj: Any) -> Any:
    """Return `obj` as JSON's own types: dict, list, str, int, float, bool and None.

    NaN and infinities become None. Whatever has `tolist()` (numpy and torch scalars and arrays)
    is converted by it, and paths become text.

    Raises:
        TypeError: for any other type, naming it.
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
        return os.fspath(obj)
    if hasattr(obj, "tolist"):
        return to_jsonable(obj.tolist())
    raise TypeError(f"cannot store a {type(obj).__name__} as JSON: {obj!r}")


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` to `path` atomically as indented JSON; see `plain` for what is accepted."""
    text = json.dumps(to_jsonable(obj), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: one line naming the file, if its content is not JSON.
    """
    data = Path(path).read_bytes()
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None
