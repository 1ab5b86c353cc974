"""Checkpoints: written atomically, loaded without executing code, checked before use.

A checkpoint is written to a temporary file, flushed to disk and renamed. It holds only tensors and
plain values, so it loads with ``weights_only=True``. The checksums of its zip archive are verified
first, because PyTorch does not verify them.
"""

from __future__ import annotations

import random
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch

from darts.writing import open_atomically

# Increase the number when the state of a command changes.
FORMATS = {"search": 7, "retrain": 4}


StateDict: TypeAlias = dict[str, Any]
"""Tensors and plain values by name: the state of an object, or the content of a checkpoint."""


class CheckpointError(ValueError):
    """An unusable checkpoint; the message is one line."""


def save_checkpoint(path: Path, kind: str, content: StateDict) -> None:
    """Write a checkpoint; ``path`` always holds either the old or the new one.

    Raises:
        WriteError: If the disk is full or fails.
    """
    with open_atomically(path) as file:
        output = _Output(file)
        full = {"format": FORMATS.get(kind, 1), "kind": kind, **content}
        torch.save(full, output)  # type: ignore[arg-type]  # it calls only write and flush
        if output.error is not None:
            raise output.error


class _Output:
    """A file for ``torch.save``, which would replace an OSError by a RuntimeError of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write bytes; after an error, keep it and write nothing."""
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Do nothing: ``open_atomically`` flushes the file."""


def load_checkpoint(path: Path, kind: str | None = None) -> StateDict:
    """Read a checkpoint to the CPU.

    Args:
        path: The file.
        kind: Command that must have written it, ``search`` or ``retrain``; None accepts both.

    Raises:
        CheckpointError: When the file is absent, damaged, foreign, or of another command.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"checkpoint {path} is damaged: checksum of {damaged} differs")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise CheckpointError(f"checkpoint {path} is damaged or not a checkpoint") from None
    except Exception as error:
        # torch.load raises nearly anything on a hostile or foreign file.
        raise CheckpointError(f"checkpoint {path} cannot be read: {_first_line(error)}") from None
    if not isinstance(content, dict) or not {"format", "kind"} <= content.keys():
        raise CheckpointError(f"{path} is not a checkpoint of darts-nas")
    found, known = content["format"], FORMATS.get(str(content["kind"]), 1)
    if found != known:
        raise CheckpointError(
            f"{path} is a checkpoint of another version of darts-nas: format {found}, not {known}"
        )
    if kind is not None and content["kind"] != kind:
        raise CheckpointError(f"checkpoint {path} was written by {content['kind']}, not by {kind}")
    return content


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def random_states() -> StateDict:
    """Return the states of the generators of Python, NumPy and PyTorch as plain values."""
    numpy_state: Any = np.random.get_state(legacy=False)
    states: StateDict = {
        "python": random.getstate(),
        "numpy": {
            "key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "pos": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: StateDict) -> None:
    """Restore ``random_states``; states of absent devices are ignored."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    saved = states["numpy"]
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": saved["key"].numpy().astype(np.uint32), "pos": saved["pos"]},
            "has_gauss": saved["has_gauss"],
            "gauss": saved["gauss"],
        }
    )
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
