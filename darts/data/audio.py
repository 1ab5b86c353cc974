"""Recordings with one class each, as log-mel spectrograms: spoken digits, or your own folders.

A sample is a spectrogram in decibels, ``(1, bands, frames)`` float32. Loading resamples the
recordings to one rate, crops or pads them to one length, and computes all spectrograms. Batches are
normalized by mean and standard deviation of the training spectrograms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from darts.data.folders import find_class_files
from darts.data.images import MemoryImages
from darts.data.mel import Spectrogram, fit_length
from darts.data.recording_file import SUFFIXES, read_recording
from darts.data.source import Request, Source, memory_source
from darts.data.split import HoldOutOptions, hold_out_test
from darts.reading import FileError

_FSDD_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav", re.IGNORECASE)
_FSDD_TEST = 5  # recordings 0 to 4 of each digit and speaker are the test split
_CHUNK = 256  # recordings whose spectrograms are computed together
_CHUNK_SAMPLES = 2**26  # a chunk also ends after this many values of waveforms: 256 MiB
_MAX_FACTOR = 100_000  # of resampling; the filter has 20 times as many numbers


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

    Raises:
        ValueError: If recordings are missing or damaged, or a speaker is unknown.

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
    in_test = [
        speaker in test_speakers if test_speakers else index < _FSDD_TEST
        for _, speaker, index, _ in recordings
    ]
    splits: dict[str, MemoryImages] = {}
    for split in ("train", "test"):
        rows = [
            row
            for row, is_test in zip(recordings, in_test, strict=True)
            if is_test == (split == "test")
        ]
        missing = set(range(10)) - {digit for digit, *_ in rows}
        if missing:
            raise ValueError(
                f"fsdd: {folder} has no recording of the digit {min(missing)} for split {split!r}: "
                "put all recordings there"
            )
        splits[split] = MemoryImages(
            spectrograms([path for *_, path in rows], options),
            torch.tensor([digit for digit, *_ in rows]),
        )
    return _source(request.name, tuple("0123456789"), splits)


def load_audiofolder(request: Request[AudioFolderOptions]) -> Source:
    """Load audio files in class folders; a class folder may have folders of its own.

    The splits are ``root/train/<class>/**/*.wav`` (or another of ``recording_file.SUFFIXES``), an
    optional ``root/valid`` and an optional ``root/test``. Without a ``train`` folder the class
    folders are in the root. Without a test folder a stratified share of the training files is the
    test split; it depends on the options ``test_share`` and ``split_seed`` alone.

    Raises:
        ValueError: If a folder or file is missing or damaged; the message names it.
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


def spectrograms(paths: Sequence[str | Path], transform: Spectrogram) -> Tensor:
    """Return the spectrograms of audio files, ``(N, 1, bands, frames)`` float32.

    Files are read one by one; those of the same rate are resampled and transformed together.

    Raises:
        FileError: If a file is damaged or cannot be resampled; the message names the first one.
        OSError: If a file cannot be read.
    """
    result = torch.empty(len(paths), 1, *transform.shape)
    for waves in _chunks(paths, transform):
        for rate, group in waves.items():
            batch = resample(torch.stack(list(group.values())), rate, transform.rate)
            result[list(group), 0] = transform(fit_length(batch, transform.samples))
    return result


def _chunks(
    paths: Sequence[str | Path], transform: Spectrogram
) -> Iterator[dict[int, dict[int, Tensor]]]:
    """Yield chunks of recordings, cropped or padded to one duration.

    A chunk has the waveforms of a sample rate by the index of the file.
    """
    waves: dict[int, dict[int, Tensor]] = {}
    files, total = 0, 0
    for row, path in enumerate(paths):
        # Only the middle is read, because a recording may be hours long.
        samples, rate = read_recording(path, Fraction(transform.samples, transform.rate))
        _check_rate(path, rate, transform.rate)
        length = math.ceil(transform.samples * rate / transform.rate)
        waves.setdefault(rate, {})[row] = fit_length(samples, length)
        files, total = files + 1, total + length
        if files == _CHUNK or total > _CHUNK_SAMPLES:
            yield waves
            waves, files, total = {}, 0, 0
    if waves:
        yield waves


def _check_rate(path: str | Path, rate: int, wanted: int) -> None:
    if max(rate, wanted) // math.gcd(rate, wanted) > _MAX_FACTOR:
        raise FileError(
            f"{path} cannot be resampled from {rate} to {wanted} samples per second; convert it to "
            "a rate that has a large factor in common"
        )


def resample(samples: Tensor, old: int, new: int) -> Tensor:
    """Resample recordings (B, N) from ``old`` to ``new`` samples per second.

    Returns:
        (B, ceil(N * new / old)) float; sample ``n`` is at time ``n / new`` in seconds.
    """
    if old == new:
        return samples
    from scipy.signal import resample_poly

    return torch.from_numpy(resample_poly(samples.numpy(), new, old, axis=1))


def _source(name: str, classes: tuple[str, ...], splits: Mapping[str, MemoryImages]) -> Source:
    decibels = splits["train"].pixels.double()
    # If all training recordings are silent, the deviation is 0. One decibel keeps the scale finite.
    statistics = (decibels.mean().item(),), (max(decibels.std(correction=0).item(), 1.0),)
    return memory_source(
        name,
        classes,
        splits["train"],
        splits.get("test"),
        valid=splits.get("valid"),
        statistics=statistics,
    )


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
    if isinstance(chosen, str) or any(speaker not in speakers for speaker in chosen):
        unknown = next((speaker for speaker in chosen if speaker not in speakers), chosen)
        raise ValueError(
            f"fsdd: dataset.test_speakers: {unknown!r} is not a speaker; choose from "
            f"{', '.join(speakers)}"
        )
    if len(set(chosen)) == len(speakers):
        raise ValueError(
            "fsdd: dataset.test_speakers names all speakers and leaves none for training; remove "
            "one"
        )
    return set(chosen)
