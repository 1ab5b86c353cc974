"""Reading of audio files with libsndfile. Of a long recording only the needed samples are read."""

from __future__ import annotations

import math
import os
import re
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from darts.reading import StrPath, damage, open_regular, read_errors

if TYPE_CHECKING:
    import soundfile

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
"""Endings of file names, in lower case."""

_MAX_RATE = 1_000_000
_MAX_SAMPLES = 2**28  # after mixing to one channel: 1 GiB
_BLOCK = 2**20  # numbers that are decoded together
# Samples before the first needed one that are decoded and dropped: after a jump, a decoder of MP3
# needs several frames of 1,152 samples until its output is exact.
_LEAD = 2**14
# libsndfile reads a truncated WAV file without an error and only logs the missing part. The length
# 4294967295 stands for an unknown length in streamed files.
_TRUNCATED = re.compile(r"^data : (?!4294967295 )\d+ \(should be", re.MULTILINE)


def read_recording(path: StrPath, seconds: Fraction | None = None) -> tuple[Tensor, int]:
    """Read an audio file and mix it to one channel.

    Args:
        path: File in one of the formats of ``SUFFIXES``.
        seconds: If the recording is longer, only this many seconds in its middle are read. None
            reads all.

    Returns:
        Samples (N,) float32, with full scale 1.0, and the rate in samples per second.

    Raises:
        FileError: If the file has another format, is damaged, empty or too long; the message names
            it.
        OSError: If the file cannot be read.
    """
    import soundfile

    with (
        read_errors(path),
        damage(f"cannot read the recording {os.fspath(path)}"),
        open_regular(path) as file,
    ):
        try:
            with soundfile.SoundFile(file) as audio:
                return torch.from_numpy(_read_middle(audio, seconds)), audio.samplerate
        except soundfile.LibsndfileError as error:  # its message has the number of ``file``
            raise ValueError(error.error_string) from None


def _read_middle(audio: soundfile.SoundFile, seconds: Fraction | None) -> np.ndarray:
    if audio.samplerate > _MAX_RATE:
        raise ValueError(f"it has more than {_MAX_RATE:,} samples per second")
    if _TRUNCATED.search(audio.extra_info):
        raise ValueError("it is truncated")
    start, stop = 0, audio.frames
    if seconds is not None:
        surplus = stop - math.ceil(seconds * audio.samplerate)
        if surplus > 0:  # keep the same samples as ``mel.fit_length``
            start, stop = -(-surplus // 2), stop - surplus // 2
    if stop - start > _MAX_SAMPLES:
        raise ValueError(f"it is too long: more than {_MAX_SAMPLES:,} samples")
    lead = min(start, _LEAD)
    audio.seek(start - lead)
    size = max(1, _BLOCK // audio.channels)
    blocks = audio.blocks(size, frames=lead + stop - start, dtype="float32", always_2d=True)
    parts = [np.empty(0, np.float32), *(block.mean(1) for block in blocks)]
    samples = np.concatenate(parts)[lead:]
    if len(samples) < max(1, stop - start):
        raise ValueError("it has no samples" if stop == start else "it is truncated")
    if not np.isfinite(samples).all():
        raise ValueError("some samples are not finite")
    return samples
