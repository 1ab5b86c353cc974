"""Files are read within limits and replaced atomically; values get their declared types."""

from __future__ import annotations

import errno
import gzip
import io
import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from msgspec import Meta
from torch import Tensor

from darts import reading
from darts.reading import FileError, read_json
from darts.typed_values import Count, Misfit, Number, entry, typed
from darts.writing import open_atomically, write_atomically, write_json


def refused(path: Path, read: object = reading.read_json) -> str:
    with pytest.raises(FileError) as caught:
        read(path)  # type: ignore[operator]
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# Regular files of limited size.


def test_a_folder_and_a_missing_file_raise_errors_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as folder:
        reading.read_bytes(tmp_path, limit=10)
    with pytest.raises(FileNotFoundError) as missing:
        reading.read_bytes(tmp_path / "missing", limit=10)
    assert folder.value.filename == str(tmp_path)
    assert str(missing.value.filename) == str(tmp_path / "missing")


def test_the_limit_of_bytes_is_inclusive(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert reading.read_bytes(file, limit=10) == b"x" * 10
    assert "9 bytes" in refused(file, lambda path: reading.read_bytes(path, limit=9))
    refused(Path("/dev/zero"), lambda path: reading.read_bytes(path, limit=10))


def test_an_error_of_the_disk_names_the_file(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    def open_broken(descriptor: int, mode: str) -> Broken:
        os.close(descriptor)
        return Broken()

    monkeypatch.setattr(os, "fdopen", open_broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        reading.read_bytes(file, limit=10)
    assert caught.value.filename == str(file)


# JSON and YAML.


NO_JSON = (b"", b"{", b"[NaN]", b"[1e999]", b"-Infinity", b"{'a': 1}")
NO_JSON += (b"[" * 100_000, b"1" * 10_000)


@pytest.mark.parametrize(
    ("data", "form"), [*((data, "JSON") for data in NO_JSON), (b'"\xff"', "UTF-8")]
)
def test_other_content_of_a_json_file_is_refused(tmp_path: Path, data: bytes, form: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(data)
    assert form in refused(file)


def test_a_json_file_that_must_hold_an_object_may_not_hold_a_list(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("[1, 2.5]")
    assert reading.read_json(file) == [1, 2.5]
    refused(file, reading.read_json_object)


def test_yaml_of_plain_values_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: [1, 0.5, null, yes, text]\nb: {c: ''}\n")
    assert reading.read_yaml(file) == {"a": [1, 0.5, None, True, "text"], "b": {"c": ""}}


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x\n",
        "a: !!python/object/apply:os.system [true]\n",
        "a: 1\n--- \nb: 2\n",
        "[" * 5_000,
        "a: 2024-99-99\n",
        "[1]\n",
        "a: 1" + 100_000 * ":1",
        "a: 0x" + 100_000 * "f",
    ],
)
def test_yaml_beyond_plain_values_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    assert "YAML" in refused(file, reading.read_yaml) or "deep" in refused(file, reading.read_yaml)


# NumPy archives and gzip.


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.asfortranarray(np.ones((2, 3))), np.array("text")]
)
def test_arrays_of_an_npz_file_are_read(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", array=array, empty=np.zeros(0, np.int64))
    found = reading.read_npz(tmp_path / "a.npz")
    assert found.keys() == {"array", "empty"}
    assert found["array"].dtype == array.dtype
    assert (found["array"] == array).all()
    assert found["array"].flags.writeable


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ("{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }\n", b""),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"12345678"),
        ("{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }\n", b"1234567"),
    ],
)
def test_arrays_with_a_wrong_header_are_refused(tmp_path: Path, header: str, data: bytes) -> None:
    text = header.encode("latin-1")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data
        archive.writestr("a.npy", content)
    refused(tmp_path / "a.npz", reading.read_npz)


def test_an_archive_that_expands_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", array=np.zeros(10**6, np.int64))
    assert (tmp_path / "a.npz").stat().st_size < 20_000
    read = reading.read_npz
    assert "too large" in refused(tmp_path / "a.npz", lambda path: read(path, limit=10**6))


def test_gunzip_joins_members_and_stops_at_its_limit() -> None:
    data = gzip.compress(b"ab") + gzip.compress(b"c") + b"\0\0"
    assert reading.gunzip(data, limit=3) == b"abc"
    with pytest.raises(ValueError, match="more than 2 bytes"):
        reading.gunzip(data, limit=2)
    with pytest.raises(ValueError, match="damaged"):
        reading.gunzip(gzip.compress(b"abc")[:-1], limit=10)
    with pytest.raises(ValueError, match="damaged"):
        reading.gunzip(b"no gzip data", limit=10)


def test_exception_in_the_block_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    write_atomically(path, b"old")
    with pytest.raises(RuntimeError, match="full"), open_atomically(path) as file:  # noqa: PT012
        file.write(b"half of the n")
        raise RuntimeError("disk full")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["checkpoint.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_content_is_on_the_disk_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))

    def renamed(source: Path, target: Path) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "replace", renamed)
    write_atomically(tmp_path / "file", "content")
    assert calls[:2] == ["fsync", "replace"]
    assert calls[2:] == ["fsync"]  # of the folder, which then has the name


def test_write_json_converts_numpy_and_torch_and_writes_nan_as_null(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    expected: dict[object, tuple[object, object]] = {  # and each value as it is written
        "nan": (None, math.nan),
        "inf": ([None, None], [math.inf, -math.inf]),
        "numpy": (0.5, np.float32(0.5)),
        "numpy_nan": (None, np.float64("nan")),
        "integer": (3, np.int64(3)),
        "flag": (True, np.bool_(True)),
        "torch": (2.0, torch.tensor(2.0, requires_grad=True)),
        "vector": ([1.0, None], torch.tensor([1.0, math.nan])),
        "half": (1.5, torch.tensor(1.5, dtype=torch.bfloat16)),
        "path": (os.path.join("a", "b"), Path("a") / "b"),
        "tuple": ([1, "0→2", None, True], (1, "0→2", None, True)),
        2: ("key", "key"),
    }
    write_json(path, {name: value for name, (_, value) in expected.items()})
    assert read_json(path) == {str(name): read for name, (read, _) in expected.items()}


def test_write_json_raises_for_other_types_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(TypeError, match="set"):
        write_json(path, {"a": {1, 2}})
    assert read_json(path) == 1


@dataclass(frozen=True)
class Point:
    x: int
    names: tuple[str, ...]


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, True, "value: Expected int, got bool"),
        (list[int], [1, "x"], "value[1]: Expected int, got str"),
        (dict[str, int], {1: 1}, "key in value: Expected str, got int"),
        (dict[str, Point], {"a": {"x": "y"}}, "value[...].x: Expected int, got str"),
        (Number, 1e101, "value: Expected float <= 1e+100"),
        (Count, -1, "value: Expected int >= 0"),
        (Annotated[float, Meta(ge=0)], float("nan"), "value: Expected float >= 0.0"),
        (Point, {"x": 1}, "value: Object missing required field names"),
        (Tensor, [1.0], "value: Expected Tensor, got list"),
        (Literal["a"], "x\n" * 1000, "value: Invalid enum value"),
    ],
)
def test_other_values_are_named_in_one_line(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(Misfit) as caught:
        typed(hint, value, "value")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_entry_is_found_by_its_path() -> None:
    assert entry({"a": {"b": 3}}, "a.b", int) == 3
    for content in ({}, {"a": {}}, {"a": 3}):
        with pytest.raises(Misfit, match=r"^a\.b is missing$"):
            entry(content, "a.b", int)
