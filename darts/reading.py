"""Read files that may be untrusted, within limits and without executing them.

Only regular files are read, up to a limit in bytes. JSON and YAML become plain values, and NumPy
archives become arrays of numbers or text. A file that is damaged, too large or of another kind
raises a ``FileError``, whose message is one line. A file that does not exist or cannot be read
raises an ``OSError``.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import math
import os
import stat
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import yaml

# A decoded JSON object, for example a row of metrics or a summary.
JsonObject: TypeAlias = dict[str, Any]

StrPath: TypeAlias = "str | os.PathLike[str]"

MIB = 2**20
JSON_LIMIT = 16 * MIB  # bytes; parsed values take up to 25 times as much memory
YAML_LIMIT = MIB // 2  # bytes; PyYAML needs seconds for more
NPZ_LIMIT = 512 * MIB  # bytes of the arrays
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MAX_DIGITS = 100


class FileError(ValueError):
    """A file is damaged, too large or of another kind; the message is one line and names it."""


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return the message of an error in one line, or the name of its type if it has none.

    For an ``OSError``, the message is the file name and the reason, without a limit of characters.
    """
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{os.fspath(error.filename)}: "
        return f"{name}{error.strerror}"
    return " ".join(str(error).split())[:limit] or type(error).__name__


@contextlib.contextmanager
def open_regular(path: StrPath) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    A pipe, a device or a socket, which could block or never end, raises a FileError. Errors of the
    operating system get the name of the file, also those that occur while it is read.
    """
    # Opening a pipe waits for a writer unless O_NONBLOCK is set; Windows has neither.
    flags = ("O_NONBLOCK", "O_BINARY", "O_CLOEXEC")
    options = sum(getattr(os, flag, 0) for flag in flags)
    try:
        descriptor = os.open(path, os.O_RDONLY | options)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise FileError(f"{os.fspath(path)} is not a regular file") from None
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        raise FileError(f"{os.fspath(path)} is not a regular file")
    try:
        with os.fdopen(descriptor, "rb") as file:
            yield file
    except OSError as error:
        if error.filename is not None or error.errno is None:  # None: an error of a library
            raise
        raise OSError(error.errno, one_line(error), os.fspath(path)) from None


@contextlib.contextmanager
def damage(problem: str) -> Iterator[None]:
    """Raise errors that a damaged file causes in a library as a ``FileError``.

    Errors of the operating system pass. ``problem`` begins the message, and names the file.
    """
    try:
        yield
    except FileError:
        raise
    except Exception as error:  # a damaged file may raise any error
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileError(f"{problem}: {one_line(error)}") from None


def read_bytes(path: StrPath, *, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FileError(f"{os.fspath(path)} is too large: more than {limit:,} bytes")
    return data


def read_text(path: StrPath, *, limit: int = JSON_LIMIT) -> str:
    """Return the content of a text file in UTF-8."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8")
    except UnicodeDecodeError:
        raise FileError(f"{os.fspath(path)} is not text in UTF-8") from None


def read_json(path: StrPath, *, limit: int = JSON_LIMIT) -> Any:
    """Return the content of a JSON file."""
    text = read_text(path, limit=limit)
    try:
        return parse_json(text)
    except ValueError as error:
        raise FileError(f"{os.fspath(path)} is not a JSON file: {error}") from None


def read_json_object(path: StrPath, *, limit: int = JSON_LIMIT) -> JsonObject:
    """Return the content of a JSON file that holds an object."""
    content = read_json(path, limit=limit)
    if not isinstance(content, dict):
        raise FileError(f"{os.fspath(path)} is damaged: it does not hold a JSON object")
    return content


def parse_json(text: str) -> Any:
    """Parse JSON text, without NaN and infinity; a ValueError says in one line what is wrong."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite, or too large")
    return value


def read_yaml(path: StrPath) -> JsonObject:
    """Return the plain values of a YAML file by key.

    Aliases, Python tags, several documents and numbers of more than 100 characters are errors.
    """
    text = read_text(path, limit=YAML_LIMIT)
    try:
        content = yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError) as error:
        reason = one_line(error)
        raise FileError(f"{os.fspath(path)} is not a YAML file of plain values: {reason}") from None
    if not isinstance(content, dict):
        raise FileError(f"{os.fspath(path)} is damaged: it does not hold YAML keys and values")
    return content


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader that also rejects short files that would take much time or memory.

    A few nested aliases expand to gigabytes, and parsing a long number in base 60 (``1:30``) takes
    quadratic time.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases such as *name are not allowed")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if node.tag in _NUMBER_TAGS and len(value) > _MAX_DIGITS:
            raise yaml.YAMLError(f"a number has more than {_MAX_DIGITS} characters")
        return value


def read_npz(path: StrPath, *, limit: int = NPZ_LIMIT) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file by name; ``limit`` is in bytes after decompression."""
    name = os.fspath(path)
    with (
        damage(f"{name} is damaged or not an .npz file"),
        open_regular(path) as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        if sum(member.file_size for member in archive.zip.infolist()) > limit:
            raise FileError(f"{name} is too large: more than {limit:,} bytes of arrays")
        arrays: dict[str, np.ndarray] = {key: archive[key] for key in archive.files}
        if any(not isinstance(a, np.ndarray) or a.dtype.names for a in arrays.values()):
            raise ValueError("it holds other values than arrays of numbers or text")
        return arrays


def read_npy(path: StrPath, *, limit: int = NPZ_LIMIT) -> np.ndarray:
    """Return the array of an ``.npy`` file of at most ``limit`` bytes, mapped into memory.

    The file must not change as long as the array is used. Changes of the array stay in memory.
    """
    name = os.fspath(path)
    with damage(f"{name} is damaged or not an .npy file"), open_regular(path):
        array = np.load(name, mmap_mode="c", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.names:
            raise ValueError("it holds other values than an array of numbers or text")
        if array.nbytes > limit:
            raise FileError(f"{name} is too large: more than {limit:,} bytes")
        return np.asarray(array)


def gunzip(data: bytes, *, limit: int) -> bytes:
    """Decompress gzip data to at most ``limit`` bytes; ValueError if it is damaged or longer."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"damaged gzip data: {one_line(error)}") from None
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes after decompression")
    return content
