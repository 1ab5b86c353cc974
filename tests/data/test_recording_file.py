"""Audio files: supported formats and errors."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from darts.data.audio import SUFFIXES, read_recording

Place = Callable[[bytes], Path]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    def place(content: bytes) -> Path:
        path = tmp_path / "some where.wav"
        path.write_bytes(content)
        return path

    return place


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def format_chunk(encoding: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", encoding, channels, rate, 0, frame, bits))


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_is_read(suffix: str, tmp_path: Path) -> None:
    time = np.arange(16000 * 5) / 16000
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, np.stack([tone, tone / 2], 1), 16000)
    whole, rate = read_recording(path)
    assert (len(whole), rate) == (80000, 16000)
    assert (whole - torch.from_numpy(tone * 0.75)).abs().max() < 0.1  # OGG and MP3 are lossy


def test_a_streamed_file_without_a_length_is_read(place: Place) -> None:
    content = (
        riff(format_chunk())
        + b"data"
        + struct.pack("<I", 0xFFFFFFFF)
        + struct.pack("<2hb", 1, 2, 3)
    )
    samples, _ = read_recording(place(content))
    assert (samples * 32768).tolist() == [1, 2]


DATA = chunk(b"data", bytes(8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Format not recognised"),
        (riff(format_chunk()), "No 'data' chunk marker"),
        (riff(format_chunk(), DATA)[:-3], "it is truncated"),
        (riff(format_chunk(), chunk(b"data", b"")), "it has no samples"),
        (
            riff(format_chunk(3, bits=32), chunk(b"data", struct.pack("<2f", 1.0, math.nan))),
            "some samples are not finite",
        ),
    ],
)
def test_invalid_files_are_named_in_one_line(content: bytes, message: str, place: Place) -> None:
    path = place(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_recording(path)
    assert str(caught.value).startswith(f"cannot read the recording {path}: ")
    assert "\n" not in str(caught.value)


def test_a_long_recording_is_refused_before_it_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darts.data.audio._MAX_SAMPLES", 3)
    with pytest.raises(ValueError, match="it is too long: more than 3 samples"):
        read_recording(place(riff(format_chunk(), DATA)))
