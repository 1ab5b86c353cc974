"""Reading of pickled NumPy arrays without executing code from the file.

CIFAR is published as pickles, and unpickling may execute any function that a file names. Here a
file gets one of the harmless objects defined below for each name that pickled arrays need; any
other name is an error. Arrays are built from raw bytes, after checks of their type and size.

A few bytes of a pickle can also demand gigabytes. ``pickle_opcodes.check`` therefore reads the
opcodes first, and a budget limits how many bytes a file can demand by using one string many times.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from darts.data import pickle_opcodes
from darts.reading import MIB, FileError, StrPath, one_line, read_bytes

FILE_LIMIT = 256 * MIB  # bytes; the largest file of CIFAR-100 has 148 MiB

Scalar = str | int | float
Value = np.ndarray | Scalar | list[Scalar]

# NumPy types that an array may have.
_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f4", "f8", "b1"}


class _Inert:
    """A harmless object that a pickle may name, but whose attributes it cannot set."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("state for an object without state")


class _Function(_Inert):
    """A function that a pickle may call."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)


class _Dtype(_Inert):
    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        # NumPy's state: (version, byte order, subarray, field names, fields, ...)
        order = state[1]
        if order not in ("|", "<", ">", "=") or any(item is not None for item in state[2:5]):
            raise pickle.UnpicklingError("an array of a structured type")
        self.code = f"{order}{self.code}" if order in "<>" else self.code


class _Array(_Inert):
    __slots__ = ("_budget", "value")

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: object, dtype: object, shape: Sequence[int], order: str) -> _Array:
        # Pickles of Python 2 hold bytes as a string, which is decoded as Latin-1.
        data = self._budget.encode(raw) if isinstance(raw, str) else raw
        if not isinstance(data, (bytes, bytearray)):
            raise pickle.UnpicklingError("an array without bytes")
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array without a type")
        flat = np.frombuffer(data, dtype=dtype.code)
        self.value = flat.reshape(tuple(int(n) for n in shape), order="F" if order == "F" else "C")
        return self


class _Budget:
    """Encodes strings, and raises if a pickle asks for many more bytes than it holds."""

    def __init__(self, size: int) -> None:
        self._left = size

    def encode(self, text: str) -> bytes:
        self._left -= len(text)
        if self._left < 0:
            raise pickle.UnpicklingError("its arrays are larger than the file")
        return text.encode("latin-1")


def _make_dtype(code: object, *flags: object) -> _Dtype:
    if not isinstance(code, str) or code not in _CODES:
        raise pickle.UnpicklingError("an array of a type other than numbers")
    return _Dtype(code)


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        # Real files use each string once; twice the length leaves a margin.
        budget = _Budget(2 * len(data))

        def encode(text: str, codec: str) -> bytes:  # how protocol 2 writes bytes
            if codec not in ("latin1", "latin-1"):
                raise pickle.UnpicklingError("a codec other than latin1")
            return budget.encode(text)

        def from_buffer(raw: object, dtype: object, shape: Sequence[int], order: str) -> _Array:
            return _Array(budget).fill(raw, dtype, shape, order)

        make_array = _Function(lambda *_: _Array(budget))
        self._names: dict[tuple[str, str], _Inert] = {
            ("numpy", "ndarray"): _Inert(),  # pickles name the class but never call it
            ("numpy", "dtype"): _Function(_make_dtype),
            ("_codecs", "encode"): _Function(encode),
        }
        for package in ("numpy.core", "numpy._core"):
            self._names[f"{package}.multiarray", "_reconstruct"] = make_array
            self._names[f"{package}.numeric", "_frombuffer"] = _Function(from_buffer)  # protocol 5

    def find_class(self, module: str, name: str) -> _Inert:
        try:
            return self._names[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed") from None


def load_pickled_arrays(path: StrPath) -> dict[str, Value]:
    """Return a pickled dictionary of arrays, strings, numbers, and lists of strings and numbers.

    Bytes become strings.

    Raises:
        FileError: If the file is missing, damaged, larger than ``FILE_LIMIT`` bytes, contains other
            objects, or names anything that arrays do not need.
        OSError: If the file cannot be read.
    """
    try:
        data = read_bytes(path, limit=FILE_LIMIT)
    except FileNotFoundError:
        raise FileError(f"the file {path!s} is missing") from None
    try:
        pickle_opcodes.check(data)
        content = _Reader(data).load()
        if not isinstance(content, dict):
            raise ValueError("it is not a dictionary")
        return {_text(key): _plain(value) for key, value in content.items()}
    except Exception as error:  # a damaged pickle may raise any error
        reason = one_line(error)
        raise FileError(f"the file {path!s} is damaged or not a data file: {reason}") from None


def _text(key: object) -> str:
    if isinstance(key, bytes):
        return key.decode("latin-1")
    if not isinstance(key, str):
        raise ValueError("a key is not a string")
    return key


def _plain(value: object) -> Value:
    if isinstance(value, list):
        return [_scalar(item) for item in value]
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without content")
        return value.value
    return _scalar(value)


def _scalar(value: object) -> Scalar:
    # Lists in lists are refused: they could refer to each other and describe more elements than fit
    # in memory.
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (str, int, float)):
        return value
    raise ValueError("it holds objects other than arrays, strings, numbers and lists of these")
