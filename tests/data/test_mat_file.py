"""MATLAB files: the same arrays as SciPy, and files that are refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darts.data.mat_file import read_mat


def save(path: Path, content: dict[str, Any], **options: Any) -> Path:
    from scipy import io

    io.savemat(path, content, **options)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_those_of_scipy(compressed: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = {
        "X": rng.integers(0, 256, (4, 5, 3, 2), dtype=np.uint8),
        "y": np.array([[1], [10]], dtype=np.uint8),
        "a_long_name_of_an_array": rng.random((3, 4)),
        "i": np.array([[-3]], dtype=np.int16),
        "empty": np.empty((0, 3)),
    }
    found = read_mat(save(tmp_path / "a.mat", content, do_compression=compressed))
    assert set(found) == set(content)
    for name, array in content.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def elements(*parts: bytes) -> bytes:
    return bytes(124) + b"\x00\x01IM" + b"".join(parts)


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a little-endian MATLAB file"),
        (b"MATLAB 7.3 " + bytes(200), "not a little-endian MATLAB file"),
        (elements(struct.pack("<II", 14, 2**32 - 1)), "ends too early"),
        (elements(b"\x0e\0\0"), "requires a buffer"),
        (elements(struct.pack("<II", 14, 0)), "ends too early"),
        (elements(struct.pack("<II", 2, 0)), "an element of type 2"),
        (elements(compressed(b"")[:-4]), "ends too early"),
        (elements(compressed(bytes(2**20 + 1))), "more than 1,048,576 bytes after"),
        (elements(compressed(b"") * 101), "more than 100 variables"),
    ],
)
def test_damaged_files_are_refused(
    data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    monkeypatch.setattr("darts.data.mat_file.LIMIT", 2**20)
    with pytest.raises(ValueError, match=rf"a\.mat is damaged: .*{message}") as caught:
        read_mat(path)
    assert "\n" not in str(caught.value)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def test_an_array_of_many_axes_is_refused(tmp_path: Path) -> None:
    # The product of these sizes takes minutes.
    sizes = np.full(2**21, 2, "<i4").tobytes()
    parts = (
        element(6, struct.pack("<II", 6, 0)),
        element(5, sizes),
        element(1, b"X"),
        element(9, b""),
    )
    path = tmp_path / "a.mat"
    path.write_bytes(elements(element(14, b"".join(parts))))
    with pytest.raises(ValueError, match="more than 32 axes"):
        read_mat(path)


@pytest.mark.parametrize(
    "value", ["text", {"a": 1}, np.array([[1j]]), np.array([[{}]], dtype=object)]
)
def test_other_objects_than_arrays_of_real_numbers_are_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="damaged"):
        read_mat(save(tmp_path / "a.mat", {"X": value}))
