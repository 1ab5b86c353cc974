"""Metrics files of uninterrupted and resumed runs."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.reading import FileError
from darts.tracking import MetricsLog, read_metrics


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    with closing(MetricsLog(path)) as log:
        log.write(step=1, loss=0.5, genotype="0→2")
        log.write(step=2, loss=math.nan)
    assert read_metrics(path) == [
        {"step": 1, "loss": 0.5, "genotype": "0→2"},
        {"step": 2, "loss": None},
    ]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 8), st.integers(0, 8), st.binary(max_size=20))
def test_resumed_file_equals_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, saved: int, lost: int, torn: bytes
) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    with closing(MetricsLog(folder / "whole.jsonl")) as log:
        for step in range(10):
            log.write(step=step, loss=1 / (step + 1))
    broken = folder / "broken.jsonl"
    with closing(MetricsLog(broken)) as log:
        for step in range(saved):
            log.write(step=step, loss=1 / (step + 1))
        offset = log.offset
        for step in range(lost):
            log.write(step=saved + step, loss=-1.0)
    with open(broken, "ab") as file:
        file.write(torn)
    with closing(MetricsLog(broken, resume_at=offset)) as log:
        assert log.offset == offset
        for step in range(saved, 10):
            log.write(step=step, loss=1 / (step + 1))
    assert broken.read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_an_offset_beyond_the_file_raises_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(FileError, match=r"metrics\.jsonl at byte 12: the file has 9 bytes"):
        MetricsLog(path, resume_at=12)
    assert path.read_text() == '{"a": 1}\n'


@pytest.mark.parametrize("torn", [b'{"a": 2', b"\xe2\x86", b"12", b'{"a": 2}'[:1]])
def test_incomplete_last_line_is_skipped(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n' + torn)
    assert read_metrics(path) == [{"a": 1}]


def test_invalid_line_elsewhere_raises_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        read_metrics(path)
