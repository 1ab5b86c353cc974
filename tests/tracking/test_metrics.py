"""Metrics files of uninterrupted and resumed runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.reading import FileError
from darts.tracking import MetricsLog, read_metrics
from darts.tracking.metrics import Position


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    with MetricsLog(path, resume_at=None) as log:
        log.write(step=1, loss=0.5, genotype="0→2")
        log.write(step=2, loss=math.nan)
    assert read_metrics(path) == [
        {"step": 1, "loss": 0.5, "genotype": "0→2"},
        {"step": 2, "loss": None},
    ]


def test_position_is_the_file_size_after_sync(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, resume_at=None) as log:
        assert log.position.offset == 0
        log.write(edge="0→2")
        log.sync()
        assert log.position.offset == path.stat().st_size > 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 8), st.integers(0, 8), st.binary(max_size=20))
def test_resumed_file_equals_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, saved: int, lost: int, torn: bytes
) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    with MetricsLog(folder / "whole.jsonl", resume_at=None) as log:
        for step in range(10):
            log.write(step=step, loss=1 / (step + 1))
    broken = folder / "broken.jsonl"
    with MetricsLog(broken, resume_at=None) as log:
        for step in range(saved):
            log.write(step=step, loss=1 / (step + 1))
        position = log.position
        for step in range(lost):
            log.write(step=saved + step, loss=-1.0)
    with open(broken, "ab") as file:
        file.write(torn)
    with MetricsLog(broken, resume_at=position) as log:
        assert log.position == position
        for step in range(saved, 10):
            log.write(step=step, loss=1 / (step + 1))
    assert broken.read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_without_offset_the_file_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"old": 1}\n')
    with MetricsLog(path, resume_at=None) as log:
        log.write(new=1)
    assert read_metrics(path) == [{"new": 1}]


@pytest.mark.parametrize("offset", [12, -1])
def test_offset_outside_the_file_raises_and_keeps_the_file(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match=rf"byte {offset}: the file has 9 bytes") as caught:
        MetricsLog(path, resume_at=Position(offset, "0" * 16))
    assert "\n" not in str(caught.value)
    assert path.read_text() == '{"a": 1}\n'


def test_offset_within_a_row_raises(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(ValueError, match="no row ends there"):
        MetricsLog(path, resume_at=Position(12, "0" * 16))


def test_offset_of_a_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the file is missing"):
        MetricsLog(tmp_path / "gone.jsonl", resume_at=Position(5, "0" * 16))
    assert not (tmp_path / "gone.jsonl").exists()


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


def write_rows(path: Path, count: int = 4) -> Position:
    with MetricsLog(path) as log:
        for step in range(count):
            log.write(step=step, loss=1 / (step + 1))
        return log.position


def changed(lines: list[bytes], how: str) -> list[bytes]:
    return {
        "a number": [lines[0], lines[1].replace(b"0.5", b"0.6"), *lines[2:]],
        "a removed row": [lines[0], *lines[2:]],
        "a repeated row": [lines[0], lines[0], *lines[1:]],
        "exchanged rows": [lines[1], lines[0], *lines[2:]],
        "a row without hash": [lines[0], b'{"step": 1, "loss": 0.5}', *lines[2:]],
        "text behind a hash": [lines[0], lines[1] + b" ", *lines[2:]],
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "a number",
        "a removed row",
        "a repeated row",
        "exchanged rows",
        "a row without hash",
        "text behind a hash",
    ],
)
def test_changed_rows_are_noticed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    position = write_rows(path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(line + b"\n" for line in changed(lines, how)))
    with pytest.raises(FileError, match=r"metrics\.jsonl, line [12]: the row"):
        read_metrics(path)
    content = path.read_bytes()
    with pytest.raises(FileError, match=r"metrics\.jsonl"):
        MetricsLog(path, resume_at=position)
    assert path.read_bytes() == content


def test_rows_of_another_run_are_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    position = write_rows(path)
    other = path.read_bytes().replace(b"0.5", b"0.25")
    rows = [json.loads(line) for line in other.splitlines()]
    path.unlink()
    with MetricsLog(path) as log:  # the hashes fit, but not those of the checkpoint
        for row in rows:
            log.write(step=row["step"], loss=row["loss"])
    with pytest.raises(FileError, match=r"not those of the checkpoint"):
        MetricsLog(path, resume_at=position._replace(offset=path.stat().st_size))


def test_a_link_to_another_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"cannot write .*metrics\.jsonl"):
        MetricsLog(tmp_path / "metrics.jsonl")
    assert (tmp_path / "precious").read_text() == "kept"
