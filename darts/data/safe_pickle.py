"""Reading of pickled NumPy arrays without executing code from the file.

CIFAR is published as pickles, and unpickling may execute any function that a file names. Here a
file gets one of the classes below for each name that pickled arrays need; any other name is an
error. NumPy's own classes would not be safe: they trust the file with addresses in memory.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from darts.reading import MIB, StrPath, damage, read_bytes

FILE_LIMIT = 256 * MIB  # bytes; the largest file of CIFAR-100 has 148 MiB


class _Dtype:
    def __init__(self, code: str, *flags: object) -> None:
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        self.value = self.value.newbyteorder(state[1])


class _Array:
    value: np.ndarray

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        # Pickles of Python 2 hold bytes as a string, which is decoded as Latin-1.
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        # Unlike NumPy's own unpickling, this fails for arrays of objects.
        flat = np.frombuffer(data, dtype.value)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _from_buffer(raw: object, dtype: _Dtype, shape: object, order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _encode(text: str, codec: str) -> bytes:  # how protocol 2 writes bytes
    return text.encode("latin-1")


_NAMES = {
    "ndarray": _Array,
    "_reconstruct": _Array,
    "_frombuffer": _from_buffer,  # protocol 5
    "dtype": _Dtype,
    "encode": _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] not in ("numpy", "_codecs") or name not in _NAMES:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed")
        return _NAMES[name]


def load_pickled_arrays(path: StrPath) -> dict[str, Any]:
    """Return a pickled dictionary of arrays, strings, numbers and lists; its keys become strings.

    Raises:
        FileError: If the file is damaged, larger than ``FILE_LIMIT`` bytes, or names anything that
            arrays do not need.
        OSError: If the file cannot be read.
    """
    data = read_bytes(path, limit=FILE_LIMIT)
    with damage(f"the file {path!s} is damaged or not a data file"):
        content = _Reader(io.BytesIO(data), encoding="latin1").load()
        return {
            as_text(key): value.value if isinstance(value, _Array) else value
            for key, value in content.items()
        }


def as_text(value: object) -> str:
    """Return a string or bytes as a string.

    Raises:
        ValueError: If the value is neither.
    """
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise ValueError("it has a name that is not a string")
    return value
