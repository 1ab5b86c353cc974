"""Recordings with a class each, as log-mel spectrograms: spoken digits, and anybody's own folders.

A sample is a spectrogram in decibels, (1, bands, frames) float32, made once when the data set is
loaded; batches are normalized by mean and deviation of the training spectrograms. Every recording
is brought to one length, see `fitted`, and to one rate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darts.data.folders import class_files, class_names
from darts.data.images import MemoryImages
from darts.data.mel import Spectrogram, fitted
from darts.data.randomness import mix
from darts.data.source import Query, Source, memory_source
from darts.data.split import stratified_split
from darts.data.wav import read_wav, resample

__all__ = ["FOLDER_OPTIONS", "FSDD_OPTIONS", "load_audiofolder", "load_fsdd", "spectrograms"]

_FORM = {"rate": 16000, "mels": 64, "window": 25.0, "hop": 10.0, "seconds": 1.0, "scale": "slaney"}
FSDD_OPTIONS = {**_FORM, "rate": 8000, "test_speakers": ()}
"""Of the spectrogram, see `Spectrogram`; and the speakers who are the test split."""
FOLDER_OPTIONS = {**_FORM, "test_share": 0.2, "split_seed": 0}
"""Of the spectrogram; and of a test split that is held out, the share and the seed."""

_FSDD_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav", re.IGNORECASE)
_FSDD_TEST = 5  # recordings 0 to 4 of a digit and a speaker are the test split
_SUFFIX = (".wav",)
_VALID = ("valid", "val", "validation")
_CHUNK = 256  # recordings whose spectra are computed at once


def load_fsdd(query: Query) -> Source:
    """The Free Spoken Digit Dataset: ten English digits, six speakers, 50 recordings of each.

    Its publisher's test split are the recordings 0 to 4 of every speaker and digit. With the option
    `held_out` it is all recordings of the speakers so named instead, whom training never hears.

    Raises:
        ValueError: in one line, if recordings are missing or damaged, or no such speaker is known.

    References:
        Jackson et al., "Jakobovski/free-spoken-digit-dataset", doi:10.5281/zenodo.1342401.
    """
    options = {**FSDD_OPTIONS, **query.options}
    form = _form(query, options)
    folder = _recordings(query)
    found: list[tuple[int, str, int, Path]] = []  # digit, speaker, number
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() != ".wav":
            continue
        name = _FSDD_NAME.fullmatch(path.name)
        if name is None:
            raise ValueError(f"fsdd: {path} is not named <digit>_<speaker>_<index>.wav")
        found.append((int(name[1]), name[2], int(name[3]), path))
    held_out = _speakers(options["test_speakers"], sorted({speaker for _, speaker, *_ in found}))
    tested = [
        speaker in held_out if held_out else number < _FSDD_TEST for _, speaker, number, _ in found
    ]
    parts: dict[str, MemoryImages] = {}
    for part in ("train", "test"):
        chosen = [row for row, test in zip(found, tested, strict=True) if test == (part == "test")]
        absent = set(range(10)) - {digit for digit, *_ in chosen}
        if absent:
            raise ValueError(
                f"fsdd: {folder} has no recording of the digit {min(absent)} for the {part} split: "
                "put all recordings there"
            )
        parts[part] = MemoryImages(
            spectrograms([path for *_, path in chosen], form),
            torch.tensor([digit for digit, *_ in chosen]),
        )
    return _source(query, tuple("0123456789"), parts)


def load_audiofolder(query: Query) -> Source:
    """Anybody's own WAV files in class folders, at any depth.

    `root/train/<class>/*.wav` with, beside `train`, an optional `valid` and an optional `test`; or,
    for want of `train`, the class folders directly under the root. Where there is no test folder, a
    stratified part of the training files that depends on the share and the seed of the split alone,
    not on the seed of the run, becomes the test split.

    Raises:
        ValueError: in one line that names the folder or the file that is missing or damaged.
    """
    options = {**FOLDER_OPTIONS, **query.options}
    share, seed = options["test_share"], options["split_seed"]
    if not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"audiofolder: test_share must lie between 0 and 1, not {share!r}")
    form = _form(query, options)
    root = query.folder()
    places = {"train": root / "train" if (root / "train").is_dir() else root}
    if places["train"] != root:
        for part, names in (("valid", _VALID), ("test", ("test",))):
            existing = [root / name for name in names if (root / name).is_dir()]
            if existing:
                places[part] = existing[0]
    classes = class_names(places["train"])
    if len(classes) < 2 or set(classes) <= {*_VALID, "test"}:
        raise ValueError(
            f"audiofolder: {places['train']} needs a folder of WAV files for each of two or more "
            "classes: put them there, or set dataset.root to where they are"
        )
    files: dict[str, tuple[list[str], Tensor]] = {}
    for part, place in places.items():
        unknown = sorted(set(class_names(place)) - set(classes))
        if unknown:
            raise ValueError(f"audiofolder: {place / unknown[0]} is no class of {places['train']}")
        files[part] = class_files(
            "audiofolder", place, classes, _SUFFIX, every=part == "train", thing="WAV file"
        )
    if "test" not in files:
        paths, labels = files["train"]
        parts = stratified_split(labels, (1 - share, share), seed=mix("audio", "test", seed))
        if not len(parts[1]) or len(labels[parts[0]].unique()) < len(classes):
            raise ValueError(
                f"audiofolder: dataset.test_share={share} of the {len(paths)} files in "
                f"{places['train']} leaves no "
                f"{'training file of a class' if len(parts[1]) else 'test file'}"
            )
        for part, kept in zip(("train", "test"), parts, strict=True):
            files[part] = [paths[index] for index in kept.tolist()], labels[kept]
    made = {
        part: MemoryImages(spectrograms(paths, form), labels)
        for part, (paths, labels) in files.items()
    }
    return _source(query, classes, made)


def spectrograms(paths: Sequence[str | Path], form: Spectrogram) -> Tensor:
    """The spectrograms of WAV files, (N, 1, bands, frames) float32.

    They are read one by one, and those of one rate are resampled and transformed together.

    Raises:
        ValueError: in one line that names the first file that cannot be read.
    """
    result = torch.empty(len(paths), 1, *form.shape)
    for start in range(0, len(paths), _CHUNK):
        waves: dict[int, dict[int, Tensor]] = {}  # by rate and place
        for place, path in enumerate(paths[start : start + _CHUNK], start):
            samples, rate = read_wav(path)
            # Cropped at once: a recording of hours does not have to be resampled whole.
            length = math.ceil(form.samples * rate / form.rate)
            waves.setdefault(rate, {})[place] = fitted(samples, length)
        for rate, group in waves.items():
            batch = resample(torch.stack(list(group.values())), rate, form.rate)
            result[list(group), 0] = form(fitted(batch, form.samples))
    return result


def _form(query: Query, options: Mapping[str, Any]) -> Spectrogram:
    if query.size is not None:
        raise ValueError(
            f"{query.name}: a recording has no size in pixels: leave size={query.size} out"
        )
    try:
        return Spectrogram(**{name: options[name] for name in _FORM})
    except ValueError as error:
        raise ValueError(f"{query.name}: {error}") from None


def _source(query: Query, classes: tuple[str, ...], parts: Mapping[str, MemoryImages]) -> Source:
    decibels = parts["train"].pixels.double()
    # Recordings that are all alike cannot be scaled; one decibel keeps them finite.
    constants = (decibels.mean().item(),), (max(decibels.std(correction=0).item(), 1.0),)
    return memory_source(
        query.name,
        classes,
        parts["train"],
        parts.get("test"),
        size=None,
        valid=parts.get("valid"),
        constants=constants,
    )


def _recordings(query: Query) -> Path:
    """The folder of the recordings."""
    root = query.folder()
    for place in (root / "recordings", root / query.name / "recordings", root):
        if place.is_dir() and any(place.glob("[0-9]_*.wav")):
            return place
    raise ValueError(
        f"fsdd: put the recordings of the Free Spoken Digit Dataset "
        "(github.com/Jakobovski/free-spoken-digit-dataset), <digit>_<speaker>_<index>.wav, into "
        f"{root / 'recordings'}, or set dataset.root to where they are"
    )


def _speakers(wanted: Sequence[str], known: Sequence[str]) -> set[str]:
    """Those to be held out."""
    if isinstance(wanted, str) or any(speaker not in known for speaker in wanted):
        strange = next((speaker for speaker in wanted if speaker not in known), wanted)
        raise ValueError(
            f"fsdd: dataset.test_speakers: {strange!r} is no speaker; choose from {', '.join(known)}"
        )
    if len(set(wanted)) == len(known):
        raise ValueError("fsdd: dataset.test_speakers names every speaker and leaves none to train on")
    return set(wanted)
