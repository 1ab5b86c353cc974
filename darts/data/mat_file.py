"""Reading of arrays of numbers from MATLAB files, version 5 (``-v6`` and ``-v7``), within limits.

SVHN is published in this format. A file is a header of 128 bytes and elements; an element is a
type, a length and content, which may itself consist of elements. Cells, structures and objects,
which could be nested without end, are refused.

References:
    MathWorks, "MAT-File Format", chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from darts.reading import MIB, FileError, StrPath, read_bytes

LIMIT = 512 * MIB
"""Bytes of a file, and of its content after decompression; SVHN has 216 MiB of pixels."""

_ELEMENT_LIMIT = 100
_AXIS_LIMIT = 32  # of an array; the product of millions of sizes would take hours
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_TYPES = {
    1: "<i1",
    2: "<u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    9: "<f8",
    12: "<i8",
    13: "<u8",
}
_NUMERIC_CLASSES = range(6, 16)  # double, single, and integers of 8 to 64 bits
_COMPLEX = 0x0800


class _Element(NamedTuple):
    type: int
    content: memoryview


def read_mat(path: StrPath) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name.

    Raises:
        FileError: If the file is damaged, too large, or holds anything but arrays of real numbers.
        OSError: If the file cannot be read.
    """
    data = read_bytes(path, limit=LIMIT)
    try:
        if data[124:128] != b"\x00\x01IM":
            raise ValueError("it is not a little-endian MATLAB file of version 5")
        return dict(_read_array(element) for element in _matrices(memoryview(data)[128:]))
    except (ValueError, struct.error) as error:
        raise FileError(f"the file {path!s} is damaged: {error}") from None


def _matrices(data: memoryview) -> Iterator[_Element]:
    remaining = LIMIT
    for element in _elements(data):
        if element.type == _COMPRESSED:
            content = _decompress(element.content, remaining)
            remaining -= len(content)
            yield from _elements(memoryview(content))
        else:
            yield element


def _elements(data: memoryview) -> Iterator[_Element]:
    position, count = 0, 0
    while position < len(data):
        count += 1
        if count > _ELEMENT_LIMIT:
            raise ValueError(f"it has more than {_ELEMENT_LIMIT} variables")
        kind, size = struct.unpack_from("<II", data, position)
        start = position + 8
        if kind >> 16:  # a small element: both numbers in four bytes, and four bytes of content
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
        if size > (4 if start == position + 4 else len(data) - start):
            raise ValueError("it ends too early")
        yield _Element(kind, data[start : start + size])
        padding = 0 if kind == _COMPRESSED else -size % 8
        position = position + 8 if start == position + 4 else start + size + padding


def _decompress(data: memoryview, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(content) > limit:
        raise ValueError(f"it has more than {LIMIT:,} bytes after decompression")
    if not stream.eof:
        raise ValueError("it ends too early")
    return content


def _read_array(element: _Element) -> tuple[str, np.ndarray]:
    if element.type != _MATRIX:
        raise ValueError(f"it holds an element of type {element.type}")
    flags, shape, name, values = _first_elements(element.content)
    (word,) = struct.unpack_from("<I", flags.content)
    if word & 0xFF not in _NUMERIC_CLASSES or word & _COMPLEX or values.type not in _TYPES:
        raise ValueError("it holds objects other than arrays of real numbers")
    if len(shape.content) > 4 * _AXIS_LIMIT:
        raise ValueError(f"it has an array of more than {_AXIS_LIMIT} axes")
    sizes = np.frombuffer(shape.content, "<i4").tolist()
    dtype = np.dtype(_TYPES[values.type])
    if min(sizes, default=-1) < 0 or math.prod(sizes) * dtype.itemsize != len(values.content):
        raise ValueError(f"it has {len(values.content)} bytes for an array of shape {sizes}")
    array = np.frombuffer(values.content, dtype).reshape(sizes, order="F")
    return bytes(name.content).decode("latin-1"), array


def _first_elements(content: memoryview) -> tuple[_Element, _Element, _Element, _Element]:
    elements = _elements(content)
    try:
        return next(elements), next(elements), next(elements), next(elements)
    except StopIteration:
        raise ValueError("it ends too early") from None
