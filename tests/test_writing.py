"""Atomic replacement of files, and conversion to JSON."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from darts.reading import read_json
from darts.writing import open_atomically, write_atomically, write_json


def test_exception_in_the_block_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    write_atomically(path, b"old")

    def fail() -> None:
        with open_atomically(path) as file:
            file.write(b"half of the n")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
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
    write_json(
        path,
        {
            "nan": math.nan,
            "inf": [math.inf, -math.inf],
            "numpy": np.float32(0.5),
            "numpy_nan": np.float64("nan"),
            "integer": np.int64(3),
            "flag": np.bool_(True),
            "torch": torch.tensor(2.0, requires_grad=True),
            "vector": torch.tensor([1.0, math.nan]),
            "half": torch.tensor(1.5, dtype=torch.bfloat16),
            "path": Path("a") / "b",
            "tuple": (1, "0→2", None, True),
            2: "key",
        },
    )
    assert read_json(path) == {
        "nan": None,
        "inf": [None, None],
        "numpy": 0.5,
        "numpy_nan": None,
        "integer": 3,
        "flag": True,
        "torch": 2.0,
        "vector": [1.0, None],
        "half": 1.5,
        "path": os.path.join("a", "b"),
        "tuple": [1, "0→2", None, True],
        "2": "key",
    }


def test_write_json_raises_for_other_types_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(TypeError, match="set"):
        write_json(path, {"a": {1, 2}})
    assert read_json(path) == 1
