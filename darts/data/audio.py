"""Recordings with one class each, as log-mel spectrograms: spoken digits, or your own folders.

A sample is a spectrogram in decibels, ``(1, bands, frames)`` float32. Loading resamples the
recordings to one rate, crops or pads them to one length, and computes all spectrograms. Batches are
normalized by mean and standard deviation of the training spectrograms. libsndfile reads the files.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from darts.data.folders import find_class_files
from darts.data.images import MemoryImages
from darts.data.mel import Spectrogram, fit_length
from darts.data.source import Request, Source, memory_source
from darts.data.split import HoldOutOptions, hold_out_test
from darts.reading import FileError, StrPath, damage, open_regular

if TYPE_CHECKING:
    import soundfile

# Endings of file names, in lower case.
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")

_FSDD_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav", re.IGNORECASE)
_FSDD_TEST = 5  # recordings 0 to 4 of each digit and speaker are the test split
_CHUNK = 2**26  # values of waveforms whose spectrograms are computed together: 256 MiB
_MAX_FACTOR = 100_000  # of resampling; the filter has 20 times as many numbers
_MAX_RATE = 1_000_000
_MAX_SAMPLES = 2**28  # after mixing to one channel: 1 GiB
_BLOCK = 2**20  # numbers that are decoded together
# libsndfile reads a truncated WAV file without an error and only logs the missing part. The length
# 4294967295 stands for an unknown length in streamed files.
_TRUNCATED = re.compile(r"^data : (?!4294967295 )\d+ \(should be", re.MULTILINE)


@dataclass
class FsddOptions(Spectrogram):
    """Options of the Free Spoken Digit Dataset."""

    # Speakers whose recordings are the test split; empty: the published test split.
    test_speakers: list[str] = field(default_factory=list)


@dataclass
class AudioFolderOptions(HoldOutOptions, Spectrogram):
    """Options of class folders of recordings."""


def load_fsdd(request: Request[FsddOptions]) -> Source:
    """Load the Free Spoken Digit Dataset: six speakers, 50 recordings of each digit by each.

    The published test split has recordings 0 to 4 of each speaker and digit. With the option
    ``test_speakers``, the test split instead has all recordings of these speakers, and the training
    split has none of them.

    References:
        Jackson et al., "Jakobovski/free-spoken-digit-dataset", doi:10.5281/zenodo.1342401.
    """
    options = request.options
    folder = _recordings_folder(request)
    recordings: list[tuple[int, str, int, Path]] = []  # digit, speaker, index, file
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() != ".wav":
            continue
        name = _FSDD_NAME.fullmatch(path.name)
        if name is None:
            raise ValueError(f"fsdd: {path} must be named <digit>_<speaker>_<index>.wav")
        recordings.append((int(name[1]), name[2], int(name[3]), path))
    speakers = sorted({speaker for _, speaker, *_ in recordings})
    test_speakers = _check_speakers(options.test_speakers, speakers)
    rows: dict[str, list[tuple[int, Path]]] = {"train": [], "test": []}
    for digit, speaker, index, path in recordings:
        held_out = speaker in test_speakers if test_speakers else index < _FSDD_TEST
        rows["test" if held_out else "train"].append((digit, path))
    splits: dict[str, MemoryImages] = {}
    for split, own in rows.items():
        missing = set(range(10)) - {digit for digit, _ in own}
        if missing:
            raise ValueError(
                f"fsdd: {folder} has no recording of the digit {min(missing)} for split {split!r}: "
                "put all recordings there"
            )
        pixels = spectrograms([path for _, path in own], options)
        splits[split] = MemoryImages(pixels, torch.tensor([digit for digit, _ in own]))
    return _source(request.name, tuple("0123456789"), splits)


def load_audiofolder(request: Request[AudioFolderOptions]) -> Source:
    """Load audio files in class folders; a class folder may have folders of its own.

    The splits are ``root/train/<class>/**/*.wav`` (or another of ``SUFFIXES``), an optional
    ``root/valid`` and an optional ``root/test``. Without a ``train`` folder the class folders are
    in the root. Without a test folder a stratified share of the training files is the test split;
    it depends on the options ``test_share`` and ``split_seed`` alone.
    """
    options = request.options
    classes, files = find_class_files(request, SUFFIXES, "recording")
    if "test" not in files:
        paths, labels = files["train"]
        indices = hold_out_test(
            labels, options, name="audio", where=f"{request.name}: {request.folder()}"
        )
        for split, chosen in zip(("train", "test"), indices, strict=True):
            files[split] = [paths[index] for index in chosen.tolist()], labels[chosen]
    splits = {
        split: MemoryImages(spectrograms(paths, options), labels)
        for split, (paths, labels) in files.items()
    }
    return _source(request.name, classes, splits)


def spectrograms(paths: Sequence[StrPath], transform: Spectrogram) -> Tensor:
    """Return the spectrograms of audio files, ``(N, 1, bands, frames)`` float32."""
    result = torch.empty(len(paths), 1, *transform.shape)
    size = min(max(_CHUNK // transform.samples, 1), 256)
    for start in range(0, len(paths), size):
        waves = [_waveform(path, transform) for path in paths[start : start + size]]
        result[start : start + size, 0] = transform(torch.stack(waves))
    return result


def _waveform(path: StrPath, transform: Spectrogram) -> Tensor:
    """Return the middle of a recording at the rate of a transform, cropped or padded."""
    samples, rate = read_recording(path)
    if max(rate, transform.rate) // math.gcd(rate, transform.rate) > _MAX_FACTOR:
        raise FileError(
            f"{path} cannot be resampled from {rate} to {transform.rate} samples per second; "
            "convert it to a rate that has a large factor in common"
        )
    if rate != transform.rate:
        from scipy.signal import resample_poly

        length = math.ceil(transform.samples * rate / transform.rate)
        samples = fit_length(samples, length)
        samples = torch.from_numpy(resample_poly(samples.numpy(), transform.rate, rate))
    return fit_length(samples, transform.samples)


def read_recording(path: StrPath) -> tuple[Tensor, int]:
    """Read an audio file in one of the formats of ``SUFFIXES``; mix it to one channel.

    Returns:
        Samples (N,) float32, with full scale 1.0, and the rate in samples per second.
    """
    import soundfile

    with damage(f"cannot read the recording {os.fspath(path)}"), open_regular(path) as file:
        try:
            with soundfile.SoundFile(file) as audio:
                return torch.from_numpy(_read(audio)), audio.samplerate
        except soundfile.LibsndfileError as error:  # its message has the number of ``file``
            raise ValueError(error.error_string) from None


def _read(audio: soundfile.SoundFile) -> np.ndarray:
    if audio.samplerate > _MAX_RATE:
        raise ValueError(f"it has more than {_MAX_RATE:,} samples per second")
    if _TRUNCATED.search(audio.extra_info):
        raise ValueError("it is truncated")
    if audio.frames > _MAX_SAMPLES:
        raise ValueError(f"it is too long: more than {_MAX_SAMPLES:,} samples")
    blocks = audio.blocks(max(1, _BLOCK // audio.channels), dtype="float32", always_2d=True)
    samples = np.concatenate([np.empty(0, np.float32), *(block.mean(1) for block in blocks)])
    if len(samples) < max(1, audio.frames):
        raise ValueError("it is truncated" if audio.frames else "it has no samples")
    if not np.isfinite(samples).all():
        raise ValueError("some samples are not finite")
    return samples


def _source(name: str, classes: tuple[str, ...], splits: Mapping[str, MemoryImages]) -> Source:
    decibels = splits["train"].pixels.double()
    # If all training recordings are silent, the deviation is 0. One decibel keeps the scale finite.
    statistics = (decibels.mean().item(),), (max(decibels.std(correction=0).item(), 1.0),)
    return memory_source(name, classes, **splits, size=None, statistics=statistics, scale=None)


def _recordings_folder(request: Request[FsddOptions]) -> Path:
    root = request.folder()
    for folder in (root / "recordings", root / request.name / "recordings", root):
        if folder.is_dir() and any(_FSDD_NAME.fullmatch(path.name) for path in folder.iterdir()):
            return folder
    raise ValueError(
        f"fsdd: put the recordings of the Free Spoken Digit Dataset "
        "(github.com/Jakobovski/free-spoken-digit-dataset), <digit>_<speaker>_<index>.wav, into "
        f"{root / 'recordings'}, or set dataset.root to their folder"
    )


def _check_speakers(chosen: Sequence[str], speakers: Sequence[str]) -> set[str]:
    """Return the chosen speakers; raise ValueError if one is unknown or all are chosen."""
    unknown = [speaker for speaker in chosen if speaker not in speakers]
    if unknown:
        raise ValueError(
            f"fsdd: dataset.test_speakers: {unknown[0]!r} is not a speaker; choose from "
            f"{', '.join(speakers)}"
        )
    if len(set(chosen)) == len(speakers):
        raise ValueError(
            "fsdd: dataset.test_speakers names all speakers and leaves none for training; remove "
            "one"
        )
    return set(chosen)
