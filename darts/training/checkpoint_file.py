"""Read the file of a checkpoint, an uncompressed zip archive, within limits.

The size of the file bounds the memory: no member is compressed, and members do not overlap. The
checksum of every member that is used is verified.
"""

from __future__ import annotations

import errno
import os
import sys
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from darts.reading import MIB, one_line, open_regular
from darts.training.checkpoint_values import Value, decode

PICKLE_LIMIT = 16 * MIB  # bytes of the member that describes all values and tensors
DIRECTORY_LIMIT = 16 * MIB  # bytes of the list of members, the central directory of the archive
MAX_MEMBERS = 100_000


class DamagedFile(ValueError):
    """A file is not a zip archive, or its bytes have changed; the message is one line."""


def read_values(path: Path) -> Value:
    """Return the value that ``torch.save`` wrote, with all tensors on the CPU.

    Raises:
        DamagedFile: If the file is not a zip archive, or is damaged.
        ValueError: If it holds objects other than plain values and tensors, or exceeds a limit.
        FileError: If it is not a regular file.
        OSError: If the file cannot be read.
    """
    with open_regular(path) as file:
        try:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                return _Archive(archive, os.fstat(file.fileno()).st_size).values()
        except (ValueError, MemoryError):
            raise
        except Exception as error:  # a damaged archive may raise any error
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                # The error of an open file does not name it.
                raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
            raise DamagedFile(one_line(error)) from None


def _check_directory(file: BinaryIO) -> None:
    """Refuse a large list of members, which ``zipfile`` would read as a whole.

    The archive must end as ``torch.save`` writes it: without a comment and, in the zip64 format,
    with the zip64 end record directly before its locator.
    """
    # At the end of the file: zip64 end record (56 bytes), zip64 locator (20), end record (22).
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read(98)
    if tail[-22:-18] != b"PK\5\6":
        raise DamagedFile("the end of the archive is missing")
    directory = int.from_bytes(tail[-10:-6], "little")
    if tail[-42:-38] == b"PK\6\7":
        if tail[-98:-94] != b"PK\6\6":
            raise DamagedFile("the end of the archive is damaged")
        directory = int.from_bytes(tail[-58:-50], "little")
    if directory > DIRECTORY_LIMIT:
        raise ValueError(f"its list of members has more than {DIRECTORY_LIMIT:,} bytes")
    file.seek(0)


class _Archive:
    """The members of an archive, checked by the constructor."""

    def __init__(self, archive: zipfile.ZipFile, file_size: int) -> None:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"it has more than {MAX_MEMBERS:,} members")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
                raise ValueError(f"its member {_name(member)} is compressed or encrypted")
            if member.file_size != member.compress_size:
                raise DamagedFile(f"{_name(member)} has two different sizes")
        if sum(member.file_size for member in members) > file_size:
            raise ValueError("its members overlap")
        self._archive = archive
        self._members = {member.filename: member for member in members}
        if len(self._members) != len(members):
            raise ValueError("two of its members have the same name")
        pickles = [name for name in self._members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it must have exactly one member data.pkl")
        self._folder = pickles[0].removesuffix("data.pkl")

    def values(self) -> Value:
        """Return the value that the archive holds."""
        order = self._read("byteorder") if self._folder + "byteorder" in self._members else None
        if order is not None and bytes(order.tolist()) != sys.byteorder.encode():
            raise ValueError("the numbers of its tensors have another byte order")
        if self._members[self._folder + "data.pkl"].file_size > PICKLE_LIMIT:
            raise ValueError(f"its pickle has more than {PICKLE_LIMIT:,} bytes")
        return decode(self._read("data.pkl").numpy().tobytes(), self._tensor)

    def _tensor(self, key: str, dtype: torch.dtype) -> Tensor:
        """Return all numbers of a storage as a tensor, ``(n,)``."""
        data = self._read(f"data/{key}")
        if len(data) % dtype.itemsize:
            raise ValueError(f"the size of tensor {key[:60]!r} is wrong")
        if dtype == torch.bool and len(data) and data.max() > 1:
            raise ValueError(f"tensor {key[:60]!r} holds other values than True and False")
        return data.view(dtype)

    def _read(self, name: str) -> Tensor:
        """Return the bytes of a member, ``(n,)`` uint8; ``zipfile`` verifies its checksum."""
        member = self._members.get(self._folder + name)
        if member is None:
            raise ValueError(f"its member {name[:60]} is missing")
        data = torch.empty(member.file_size, dtype=torch.uint8)
        with self._archive.open(member) as file:
            rest = data.numpy()
            while part := file.read(MIB):  # verifies the checksum at the end
                rest[: len(part)] = np.frombuffer(part, dtype=np.uint8)
                rest = rest[len(part) :]
        if len(rest):
            raise DamagedFile(f"{_name(member)} ends too early")
        return data


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename[:100]
