"""Checkpoints: all tensors and one JSON text in a safetensors file, which cannot hold code.

Each tensor is stored under its place in the content, for example ``searcher.net.stem.0.weight``. In
the JSON text, which is metadata of the file, a tensor is an object with its name.

Reference: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load, save
from torch import Tensor

from darts.config import ConfigError
from darts.reading import JSON_LIMIT, FileError, one_line, open_regular
from darts.typed_values import Misfit
from darts.writing import write_atomically

# Name of the checkpoint in a run directory.
FILE = "checkpoint.safetensors"

# Kind of a file that holds only trained networks: an ensemble, or an exported network.
NETWORK = "find or export"

# Formats of checkpoints by command. Increase the number when the state of a command changes.
FORMATS = {"search": 15, "retrain": 12, NETWORK: 9}

_TEXT, _CHECKSUM = "darts", "crc32"  # entries of the metadata
_TENSOR = "$tensor"  # the only key of an object that stands for a tensor

# Tensors and plain values by name: the state of an object, or the content of a checkpoint.
StateDict: TypeAlias = dict[str, Any]


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message is one line."""


def save_checkpoint(path: Path, kind: str, content: StateDict, *, prefix: str = "") -> None:
    """Write a checkpoint; ``path`` always holds either the old or the new one.

    Tensors that are the same memory, such as tied weights, are stored once. Keys become strings and
    tuples become lists.
    ``kind`` is one of ``FORMATS``; ``prefix`` is left out of the names of tensors.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[object, str] = {}

    def plain(value: object, place: str) -> object:
        if isinstance(value, Tensor):
            memory = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
            if memory not in names:
                names[memory] = name = place.removeprefix(prefix)
                assert name not in tensors, f"two tensors have the name {name}"
                # A copy, because safetensors stores neither views nor other memory formats.
                tensors[name] = value.detach().to(
                    "cpu", copy=True, memory_format=torch.contiguous_format
                )
            return {_TENSOR: names[memory]}
        if isinstance(value, Mapping):
            return {str(key): plain(item, f"{place}.{key}") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item, f"{place}.{number}") for number, item in enumerate(value)]
        return value

    entries = {name: plain(value, name) for name, value in content.items()}
    text = json.dumps({"format": FORMATS[kind], "kind": kind, **entries}, ensure_ascii=False)
    text = text.encode(errors="backslashreplace").decode()  # a lone surrogate becomes an escape
    metadata = {_TEXT: text, _CHECKSUM: str(_checksum(text, tensors))}
    write_atomically(path, save(tensors, metadata))


def load_checkpoint(path: Path, *kinds: str) -> StateDict:
    """Read a checkpoint, with all tensors on the CPU; the types of its entries are not yet checked.

    The memory is bounded by the size of the file. One of the commands ``kinds`` must have written
    it, as in ``FORMATS``; any by default.
    Raise CheckpointError if the file is missing, damaged, of another version, or from another
    command.
    """
    try:
        return _read(path, kinds)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise CheckpointError(f"no checkpoint at {path}") from None
    except (FileError, PermissionError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {one_line(error)}") from None
    except (CheckpointError, OSError, MemoryError):
        raise
    except Exception:  # a damaged file may cause any error
        raise CheckpointError(f"{path} is damaged, or not a checkpoint of darts-nas") from None


def _read(path: Path, kinds: tuple[str, ...]) -> StateDict:
    with open_regular(path) as file:
        # The file begins with the length of a JSON header in eight bytes, and this header.
        length = int.from_bytes(file.read(8), "little")
        if length > JSON_LIMIT:
            raise ValueError("its header is too long")
        metadata = json.loads(file.read(length))["__metadata__"]
        content = json.loads(metadata[_TEXT])
        kind, found = content["kind"], content["format"]
        if found != FORMATS[kind]:
            raise CheckpointError(
                f"{path} is a checkpoint of another version of darts-nas: format {found!r:.20}, "
                f"not {FORMATS[kind]}"
            )
        if kinds and kind not in kinds:
            raise CheckpointError(f"checkpoint {path} was written by {kind}, not by {kinds[0]}")
        file.seek(0)
        data = file.read()
    # Copies, because the memory of a tensor from bytes is not aligned.
    tensors = {name: tensor.clone() for name, tensor in load(data).items()}
    if metadata[_CHECKSUM] != str(_checksum(metadata[_TEXT], tensors)):
        raise ValueError("its checksum differs")

    def restored(value: Any) -> Any:
        if isinstance(value, list):
            return [restored(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: restored(item) for key, item in value.items()}

    return {name: restored(value) for name, value in content.items()}


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    """Return the CRC-32 of a text and of names, types, shapes and numbers of tensors."""
    value = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        value = zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data, value)
    return value


@contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Raise CheckpointError, with the name of a checkpoint, for values in it that do not fit."""
    try:
        yield
    except (CheckpointError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Misfit as error:
        raise CheckpointError(f"checkpoint {path} cannot be used: {error}") from None
    except Exception as error:  # an incompatible value may cause any error
        reason = one_line(error)
        raise CheckpointError(f"checkpoint {path} does not fit its run: {reason}") from error


def find_checkpoint(reference: str, key: str = "checkpoint") -> Path:
    """Return the checkpoint file that a file name or a run directory refers to.

    ``key`` is the name of the setting, for the message.
    """
    path = Path(reference)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"{key}={reference!r} is neither a checkpoint file nor the directory of a run"
        )
    return file
