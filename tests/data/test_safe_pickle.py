"""Pickled arrays: supported files, attacks and damage."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darts.data.vision import load_pickled_arrays


class Call:
    """An object whose unpickling calls ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def python2_pickle(rows: np.ndarray) -> bytes:
    """Return Python 2's pickle of {'data': rows, 'labels': [1, 2]}, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    shape = b"(" + b"".join(b"M" + struct.pack("<H", n) for n in rows.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
    array += b"(K\x01" + shape + dtype + b"I00\n" + text(rows.tobytes()) + b"tb"
    labels = text(b"labels") + b"](K\x01K\x02e"
    return b"\x80\x02}(" + text(b"data") + array + labels + b"u."


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_each_protocol_are_read(
    tmp_path: Path, protocol: int, dtype: str, order: str
) -> None:
    rows = np.asarray(np.arange(12).reshape(3, 4) * 17 % 251, dtype=dtype, order=order)  # type: ignore[call-overload]
    content = {"data": rows, "labels": [1, 2, 3], "names": ["a", "b"], "count": 3}
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    read = load_pickled_arrays(path)
    assert (read["data"] == rows).all()
    assert read["data"].dtype == rows.dtype
    assert read["labels"] == [1, 2, 3]
    assert read["names"] == ["a", "b"]
    assert read["count"] == 3


def test_a_file_of_python_2_is_read(tmp_path: Path) -> None:
    rows = np.arange(250, 256, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / "batch"
    path.write_bytes(python2_pickle(rows))
    read = load_pickled_arrays(path)
    assert (read["data"] == rows).all()
    assert read["labels"] == [1, 2]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_file_is_refused_without_executing_it(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    attack = Call(Path.touch, trace)
    content = {"data": attack, "labels": []}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ValueError, match="not allowed") as caught:
        load_pickled_arrays(tmp_path / "batch")
    assert "\n" not in str(caught.value)
    assert not trace.exists()
    pickle.loads((tmp_path / "batch").read_bytes())  # noqa: S301
    assert trace.exists()  # the attack works with pickle


@pytest.mark.parametrize(
    "body",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nfromfile\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
        b"cnumpy\ndtype\n(S'O'\ntR.",  # objects
        # State for a function of the reader.
        b"cnumpy.core.multiarray\n_reconstruct\n}S'__call__'\nI1\nsb.",
        b"cnumpy\nndarray\n}S'x'\nI1\nsb.",
        b"Ppersistent\n.",
        b"\x80\x04K\x01.",  # a number
    ],
)
def test_other_pickles_are_refused_in_one_line(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "batch"
    path.write_bytes(body)
    with pytest.raises(ValueError, match=r"batch is damaged or not a data file") as caught:
        load_pickled_arrays(path)
    assert "\n" not in str(caught.value)


def test_an_array_cannot_hold_addresses(tmp_path: Path) -> None:
    """NumPy's own unpickling would take the bytes for objects."""
    raw = python2_pickle(np.zeros((2, 3), np.uint8))
    path = tmp_path / "batch"
    for code in (b"O8", b"u1,O"):
        path.write_bytes(raw.replace(b"T\x02\0\0\0u1", b"T%c\0\0\0%s" % (len(code), code)))
        with pytest.raises(ValueError, match="OBJECT array"):
            load_pickled_arrays(path)
