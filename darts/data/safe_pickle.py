"""Reading of pickled NumPy arrays without executing code from the file.

CIFAR is published as pickles, and unpickling may execute any function that a file names. Here the
names that pickled arrays need stand for the harmless objects defined below; any other name is an
error. Arrays are built from raw bytes, after checks of their type and size.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

# NumPy types that an array may have.
_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f4", "f8", "b1"}


class _Inert:
    """A harmless object that a pickle may name; it has no attributes to set."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("state for an object without state")


class _Dtype(_Inert):
    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("|", "<", ">", "=") or any(item is not None for item in state[2:5]):
            raise pickle.UnpicklingError("an array of a structured type")
        self.code = f"{order}{self.code}" if order in "<>" else self.code


class _Array(_Inert):
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: str | bytes, dtype: object, shape: Sequence[int], order: str) -> _Array:
        # Pickles of Python 2 hold bytes as a string, which is decoded as Latin-1.
        data = raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array without a type")
        flat = np.frombuffer(data, dtype=dtype.code)
        self.value = flat.reshape(tuple(int(n) for n in shape), order="F" if order == "F" else "C")
        return self


class _MakeDtype(_Inert):
    __slots__ = ()

    def __call__(self, code: str, *flags: object) -> _Dtype:
        if code not in _CODES:
            raise pickle.UnpicklingError(f"an array of type {code!r}")
        return _Dtype(code)


class _MakeArray(_Inert):
    __slots__ = ()

    def __call__(self, *arguments: object) -> _Array:
        return _Array()


class _FromBuffer(_Inert):
    __slots__ = ()

    def __call__(self, raw: str | bytes, dtype: object, shape: Sequence[int], order: str) -> _Array:
        return _Array().fill(raw, dtype, shape, order)


class _EncodeLatin1(_Inert):
    __slots__ = ()

    def __call__(self, text: str, codec: str) -> bytes:
        if codec not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"the codec {codec!r}")
        return text.encode("latin-1")


_NAMES: dict[tuple[str, str], _Inert] = {
    ("numpy", "ndarray"): _Inert(),  # pickles name the class but never call it
    ("numpy", "dtype"): _MakeDtype(),
    ("_codecs", "encode"): _EncodeLatin1(),  # how protocol 2 writes bytes
}
for _package in ("numpy.core", "numpy._core"):
    _NAMES[f"{_package}.multiarray", "_reconstruct"] = _MakeArray()
    _NAMES[f"{_package}.numeric", "_frombuffer"] = _FromBuffer()  # protocol 5


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Inert:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed") from None


def load_pickled_arrays(path: str | os.PathLike[str]) -> dict[str, object]:
    """Return a pickled dictionary of lists, strings, numbers and arrays.

    Raises:
        ValueError: If the file is damaged, contains other objects, or names anything that arrays do
            not need.
    """
    try:
        with open(path, "rb") as file:
            content = _Reader(file, encoding="latin1").load()
    except FileNotFoundError:
        raise ValueError(f"the file {path} is missing") from None
    except Exception as error:  # a damaged pickle may raise any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the file {path} is damaged or not a data file: {reason}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the file {path} is damaged or not a data file: it is not a dictionary")
    return {
        key.decode("latin-1") if isinstance(key, bytes) else str(key): (
            value.value if isinstance(value, _Array) else value
        )
        for key, value in content.items()
    }
