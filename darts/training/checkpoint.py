"""Checkpoints: written atomically, read without executing code, checked before use.

A checkpoint holds only tensors and plain values. It is written to a temporary file, synced to disk
and renamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import torch

from darts.config import ConfigError
from darts.reading import FileError, one_line
from darts.training.checkpoint_file import DamagedFile, read_values
from darts.typed_values import Misfit
from darts.writing import open_atomically

ENSEMBLE = "find ensemble"
"""Kind of the checkpoint of an ensemble; it has the entries of a retraining for its result."""

# Formats of checkpoints by command. Increase the number when the state of a command changes.
FORMATS = {"search": 12, "retrain": 8, ENSEMBLE: 8}


StateDict: TypeAlias = dict[str, Any]
"""Tensors and plain values by name: the state of an object, or the content of a checkpoint."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message is one line."""


def save_checkpoint(path: Path, kind: str, content: StateDict) -> None:
    """Write a checkpoint; ``path`` always holds either the old or the new one.

    Args:
        path: The file.
        kind: Command that writes it, one of ``FORMATS``.
        content: Tensors and plain values by name.

    Raises:
        WriteError: If the file cannot be written, for example because the disk is full.
    """
    with open_atomically(path) as file:
        output = _Output(file)
        full = {"format": FORMATS[kind], "kind": kind, **content}
        torch.save(full, output)  # type: ignore[arg-type]  # it calls only write and flush
        if output.error is not None:
            raise output.error


class _Output:
    """A file for ``torch.save``; keeps an OSError, which ``torch.save`` would replace."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write bytes; keep the first error, and write nothing after it."""
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Do nothing: ``open_atomically`` flushes the file."""


def load_checkpoint(path: Path, *kinds: str) -> StateDict:
    """Read a checkpoint, with all tensors on the CPU; the types of its entries are not yet checked.

    Args:
        path: The file.
        *kinds: Commands of which one must have written it, as in ``FORMATS``; any by default.

    Raises:
        CheckpointError: When the file is missing, damaged, not a checkpoint of this version of
            darts-nas, or from another command.
        OSError: When the disk fails.
    """
    try:
        content = read_values(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise CheckpointError(f"no checkpoint at {path}") from None
    except (FileError, PermissionError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {one_line(error)}") from None
    except DamagedFile as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or not a checkpoint: {one_line(error)}"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path} cannot be used: {one_line(error)}") from None
    if not isinstance(content, dict) or not {"format", "kind"} <= content.keys():
        raise CheckpointError(f"{path} is not a checkpoint of darts-nas")
    written_by, found = content["kind"], content["format"]
    if not isinstance(written_by, str) or written_by not in FORMATS or type(found) is not int:
        raise CheckpointError(f"{path} is not a checkpoint of darts-nas")
    known = FORMATS[written_by]
    if found != known:
        raise CheckpointError(
            f"{path} is a checkpoint of another version of darts-nas: format {found}, not {known}"
        )
    if kinds and written_by not in kinds:
        raise CheckpointError(f"checkpoint {path} was written by {written_by}, not by {kinds[0]}")
    if not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{path} is not a checkpoint of darts-nas")
    return content


@contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Add the name of a checkpoint to errors in a ``with`` block that uses the checkpoint.

    Raises:
        CheckpointError: In place of the errors that PyTorch and this package raise for values that
            do not fit.
    """
    try:
        yield
    except CheckpointError:
        raise
    except torch.OutOfMemoryError:
        raise
    except Misfit as error:
        raise CheckpointError(f"checkpoint {path} cannot be used: {error}") from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = one_line(error)
        raise CheckpointError(f"checkpoint {path} does not fit its run: {reason}") from error


def find_checkpoint(reference: str, key: str = "checkpoint") -> Path:
    """Return the checkpoint file that a file name or a run directory refers to.

    ``key`` is the name of the setting, for the message.

    Raises:
        ConfigError: If there is no such file.
    """
    path = Path(reference)
    file = path / "checkpoint.pt" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"{key}={reference!r}: neither a checkpoint file nor the directory of a "
            "retraining; give runs/retrain/<run>"
        )
    return file
