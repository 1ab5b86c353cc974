"""Spoken digits, folders of recordings and audio files: content, splits and errors."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from load_errors import load_error
from torch import Tensor

from darts.data import load
from darts.data.audio import SUFFIXES, read_recording, spectrograms
from darts.data.mel import SILENCE, Spectrogram
from darts.data.randomness import seed_for
from darts.data.split import stratified_split

SMALL = {"rate": 8000, "mels": 10, "window": 32.0, "hop": 16.0, "seconds": 0.2}
SPEAKERS = ("ann", "bob", "cy")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, pitch: float, rate: int = 8000, seconds: float = 0.15) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate)
        soundfile.write(path, (tone * 16000).astype("<i2"), rate)
        return path

    return write


@pytest.fixture
def digits(write: Write, tmp_path: Path) -> Path:
    """Ten digits by three speakers, recordings 0 to 6, each with a different pitch."""
    for digit in range(10):
        for which, speaker in enumerate(SPEAKERS):
            for number in range(7):
                write(f"recordings/{digit}_{speaker}_{number}.wav", pitch(digit, which, number))
    return tmp_path


def pitch(digit: int, speaker: int, number: int) -> float:
    return 300 + 300 * digit + 80 * speaker + 10 * number


def spectrograms_of(paths: Iterable[Path], **options: Any) -> Tensor:
    return spectrograms(list(paths), Spectrogram(**{**SMALL, **options}))


def test_fsdd_has_its_published_split_or_other_test_speakers(digits: Path) -> None:
    source = load("fsdd", root=digits, **SMALL)
    assert source.classes == tuple("0123456789")
    assert source.valid is None
    assert (len(source.train), len(source.test)) == (60, 150)
    assert source.train.shape == (1, 10, 13)
    for part, numbers in ((source.train, (5, 6)), (source.test, range(5))):
        rows = [(d, s, n) for d in range(10) for s in SPEAKERS for n in numbers]
        assert part.labels.tolist() == [digit for digit, *_ in rows]
        files = [digits / f"recordings/{d}_{s}_{n}.wav" for d, s, n in rows]
        assert torch.equal(part.pixels, spectrograms_of(files))
    held = load("fsdd", root=digits, test_speakers=["bob", "ann"], **SMALL)
    rows = [(d, s, n) for d in range(10) for s in SPEAKERS[:2] for n in range(7)]
    files = [digits / f"recordings/{d}_{s}_{n}.wav" for d, s, n in rows]
    assert torch.equal(held.test.pixels, spectrograms_of(files))
    assert len(held.train) == 70
    train = source.train.pixels.double()
    assert source.mean == pytest.approx((train.mean().item(),))
    assert source.std == pytest.approx((train.std(correction=0).item(),))


@pytest.mark.parametrize("place", [".", "fsdd/recordings"])
def test_recordings_are_found_in_each_supported_folder(place: str, digits: Path) -> None:
    (digits / place).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted((digits / "recordings").iterdir())):
        path.rename(digits / place / path.with_suffix((".WAV", ".wav")[number % 2]).name)
    (digits / "recordings").rmdir()
    (digits / place / "README.md").write_text("not a recording")
    (digits / place / "._0_ann_0.wav").write_text("metadata of a file manager")
    assert len(load("fsdd", root=digits, **SMALL).train) == 60


def test_rates_and_lengths_become_equal(write: Write) -> None:
    rates = (8000, 16000, 44100, 8000, 22050)
    files = [write(f"{n}.wav", 1000, rate, 0.15 if n < 3 else 1.0) for n, rate in enumerate(rates)]
    made = spectrograms_of(files)
    assert made.shape == (5, 1, 10, 13)
    # Middle frames of 32 ms, in the bands of the tone.
    loud = made[:, :, :, 5:8][:, :, made[0, 0, :, 6] > 0]
    assert loud.numel()
    assert (loud - loud[:1]).abs().max() < 0.1
    # Short recordings are silent at both ends.
    assert (made[:1, :, :, [0, -1]] == SILENCE).all()
    assert (made[3:, :, :, [0, -1]].amax((1, 2)) > 0).all()


def test_files_of_several_chunks_equal_single_files(write: Write) -> None:
    files = [write(f"{n}.wav", 300 + 5 * n, (8000, 11025)[n % 3 // 2]) for n in range(258)]
    made = spectrograms_of(files)
    alone = torch.cat([spectrograms_of([path]) for path in files])
    torch.testing.assert_close(made, alone, atol=0.01, rtol=0)


def write_folders(write: Write, split: str, **counts: int) -> None:
    for which, (kind, count) in enumerate(counts.items()):
        for number in range(count):
            write(f"{split}/{kind}/deep/{number}.WAV", 400 + 900 * which + 7 * number)


def test_folders_of_all_splits_are_read(write: Write, tmp_path: Path) -> None:
    write_folders(write, "train", no=6, yes=7)
    write_folders(write, "val", no=2)
    write_folders(write, "test", no=3, yes=1)
    (tmp_path / "train/no/notes.txt").write_text("not a recording")
    source = load("audiofolder", root=tmp_path, **SMALL)
    assert source.classes == ("no", "yes")
    assert source.train.labels.tolist() == [0] * 6 + [1] * 7
    assert source.valid.labels.tolist() == [0, 0]
    assert source.test.labels.tolist() == [0, 0, 0, 1]
    assert torch.equal(source.test.pixels[3:], spectrograms_of([tmp_path / "test/yes/deep/0.WAV"]))


@pytest.mark.parametrize("nested", [True, False])
def test_without_a_folder_a_test_split_is_made(nested: bool, write: Write, tmp_path: Path) -> None:
    place = tmp_path / "train" if nested else tmp_path
    write_folders(write, "train" if nested else ".", a=10, b=20)
    source = load("audiofolder", root=tmp_path, **SMALL, test_share=0.3, split_seed=4)
    labels = torch.tensor([0] * 10 + [1] * 20)
    kept, held = stratified_split(labels, (0.7, 0.3), seed=seed_for("audio", "test", 4))
    everything = spectrograms_of(sorted(place.rglob("*.WAV")))
    for part, chosen in ((source.train, kept), (source.test, held)):
        assert torch.equal(part.labels, labels[chosen])
        assert torch.equal(part.pixels, everything[chosen])
    assert source.valid is None


def test_silence_has_a_finite_normalization(write: Write, tmp_path: Path) -> None:
    for name in ("a/0.wav", "a/1.wav", "b/0.wav", "b/1.wav"):
        write(name, 0)
    source = load("audiofolder", root=tmp_path, test_share=0.5, **SMALL)
    assert (source.mean, source.std) == ((SILENCE,), (1.0,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_speakers": ["bob", "dan"]}, "'dan' is not a speaker; choose from ann, bob, cy"),
        ({"test_speakers": [*SPEAKERS]}, "names all speakers"),
        ({"mels": 300}, r"fsdd: mels=300: \d+ bands contain no frequency for window=32 millisec"),
        (lambda top: [p.unlink() for p in top.glob("3_*_[56].wav")], "digit 3 for split 'train'"),
        (lambda top: [p.unlink() for p in top.glob("*_[0-4].wav")], "digit 0 for split 'test'"),
        (lambda top: (top / "ten_ann_0.wav").touch(), r"ten_ann_0\.wav must be named <digit>_"),
    ],
)
def test_wrong_options_and_recordings_are_refused(change: Any, message: str, digits: Path) -> None:
    options = change if isinstance(change, dict) else {}
    if not options:
        change(digits / "recordings")
    load_error(message, "fsdd", root=digits, **{**SMALL, **options})


def test_the_error_of_a_missing_data_set_says_what_to_do(tmp_path: Path) -> None:
    error = load_error("put the recordings of the Free Spoken", "fsdd", root=tmp_path / "none")
    place = tmp_path / "none" / "recordings"
    assert f"into {place}, or set dataset.root" in error


@pytest.mark.slow
@pytest.mark.data("fsdd")
def test_the_published_fsdd_is_read_and_can_be_learned(real_data: Path) -> None:
    start = time.process_time()
    source = load("fsdd", root=real_data, rate=8000, window=32.0, hop=16.0)
    assert time.process_time() - start < 10
    assert (len(source.train), len(source.test)) == (2700, 300)
    assert torch.bincount(source.train.labels).tolist() == [270] * 10
    assert torch.bincount(source.test.labels).tolist() == [30] * 10
    assert source.train.shape == (1, 64, 63)
    held = load("fsdd", root=real_data, test_speakers=["theo"], rate=8000, window=32.0, hop=16.0)
    assert (len(held.train), len(held.test or ())) == (2500, 500)
    # Nearest neighbors recognize most spoken digits of known speakers.
    labels, rows = source.train.labels, source.train.pixels.flatten(1)
    kept, asked = stratified_split(labels, (0.9, 0.1), seed=0)
    guess = labels[kept][torch.cdist(rows[asked], rows[kept]).argmin(1)]
    assert (guess == labels[asked]).float().mean() > 0.7


def write_wave(folder: Path, content: bytes) -> Path:
    path = folder / "some where.wav"
    path.write_bytes(content)
    return path


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


def test_a_streamed_file_without_a_length_is_read(tmp_path: Path) -> None:
    unknown, samples = struct.pack("<I", 0xFFFFFFFF), struct.pack("<2hb", 1, 2, 3)
    content = riff(format_chunk()) + b"data" + unknown + samples
    found, _ = read_recording(write_wave(tmp_path, content))
    assert (found * 32768).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Format not recognised"),
        (riff(format_chunk()), "No 'data' chunk marker"),
        (riff(format_chunk(), chunk(b"data", b"")), "it has no samples"),
        (
            riff(format_chunk(3, bits=32), chunk(b"data", struct.pack("<2f", 1.0, math.nan))),
            "some samples are not finite",
        ),
    ],
)
def test_invalid_files_are_named_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = write_wave(tmp_path, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_recording(path)
    assert str(caught.value).startswith(f"cannot read the recording {path}: ")
    assert "\n" not in str(caught.value)


def test_a_long_recording_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darts.data.audio._MAX_SAMPLES", 3)
    with pytest.raises(ValueError, match="it is too long: more than 3 samples"):
        read_recording(write_wave(tmp_path, riff(format_chunk(), chunk(b"data", bytes(8)))))
