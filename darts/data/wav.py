"""Reading of WAV files, and resampling.

Python's ``wave`` module reads integers only and fails on files of more than two channels, so the
chunks are parsed here. A file is "RIFF", a length, "WAVE", and chunks. A chunk is a name of four
letters, a length and content. The chunk ``fmt `` gives the format of the samples, which are in the
chunk ``data``. Of a long recording only the samples that are needed are read.

References:
    Microsoft, "Multiple Channel Audio Data and WAVE Files", 2007.
"""

from __future__ import annotations

import math
import os
import struct
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.reading import FileError, StrPath, open_regular, read_errors

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_LENGTH = 0xFFFFFFFF  # of streamed files, whose writer could not go back to set it
_MAX_RATE = 1_000_000
_MAX_CHANNELS = 1024
_MAX_CHUNKS = 1000  # before the samples
_MAX_SAMPLES = 2**28  # after mixing to one channel: 1 GiB
_BLOCK = 2**20  # numbers that are decoded together
_MAX_FACTOR = 100_000
# Above this number of filter phases, ``resample`` computes so few outputs per phase that the
# overhead of calling a convolution would dominate.
_MANY_PHASES = 1000


class _Format(NamedTuple):
    encoding: int
    channels: int
    rate: int
    bits: int

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


def read_wav(path: StrPath, seconds: Fraction | None = None) -> tuple[Tensor, int]:
    """Read a WAV file and mix it to one channel.

    Args:
        path: File of any rate and at most 1,024 channels, whose samples are integers of 8, 16, 24
            or 32 bits, or float32.
        seconds: If the recording is longer, only this many seconds in its middle are read. None
            reads all.

    Returns:
        Samples (N,) float32, with full scale 1.0, and the rate in samples per second.

    Raises:
        FileError: If the file has another format, is damaged, empty or too long; the message names
            it.
        OSError: If the file cannot be read.
    """
    with open_regular(path) as file, read_errors(path):
        try:
            form, length = _find_samples(file)
            start, stop = 0, length // form.frame
            if seconds is not None:
                surplus = stop - math.ceil(seconds * form.rate)
                if surplus > 0:  # keep the same samples as ``mel.fit_length``
                    start, stop = -(-surplus // 2), stop - surplus // 2
            samples = _read_frames(file, form, start, stop)
        except ValueError as error:
            raise FileError(f"{os.fspath(path)} {error}") from None
    return torch.from_numpy(samples), form.rate


def _find_samples(file: BinaryIO) -> tuple[_Format, int]:
    """Return the format and the number of bytes of the samples, and go to the first of them."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise ValueError("is not a WAV file: it does not begin with RIFF and WAVE")
    form = None
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            break
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            if form is None:
                raise ValueError("is damaged: there is no fmt chunk before the samples")
            return form, _check_length(form, length, size - file.tell())
        end = file.tell() + length + length % 2
        if name == b"fmt ":
            form = _parse_format(file.read(min(length, 40)))
        file.seek(end)
    raise ValueError("is damaged: it has no data chunk")


def _check_length(form: _Format, length: int, available: int) -> int:
    """Return the number of bytes of the samples."""
    if length == _UNKNOWN_LENGTH:
        length = available - available % form.frame
    if available < length:
        raise ValueError(f"is truncated: it has {available} of {length} bytes of samples")
    if length % form.frame:
        raise ValueError(
            f"is damaged: {length} bytes are not a multiple of {form.frame}, the size of a frame"
        )
    if length == 0:
        raise ValueError("is damaged: it has no samples")
    return length


def _parse_format(body: bytes) -> _Format:
    if len(body) < 16:
        raise ValueError("is damaged: its fmt chunk is too short")
    encoding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if encoding == _EXTENSIBLE and len(body) >= 26:
        (encoding,) = struct.unpack_from("<H", body, 24)
    if (encoding, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)}:
        raise ValueError(
            f"has samples of format {encoding} with {bits} bits; convert it to integers (1) of 8, "
            "16, 24 or 32 bits or floats (3) of 32 bits"
        )
    if not (0 < channels <= _MAX_CHANNELS and 0 < rate <= _MAX_RATE):
        raise ValueError(
            f"has {channels} channels at {rate} samples per second; possible are 1 to "
            f"{_MAX_CHANNELS:,} channels at 1 to {_MAX_RATE:,} samples per second"
        )
    return _Format(encoding, channels, rate, bits)


def _read_frames(file: BinaryIO, form: _Format, start: int, stop: int) -> np.ndarray:
    """Return the samples from ``start`` to ``stop``, the mean of all channels, float32."""
    if stop - start > _MAX_SAMPLES:
        raise ValueError(f"is too long: it has more than {_MAX_SAMPLES:,} samples")
    samples = np.empty(stop - start, np.float32)
    file.seek(start * form.frame, os.SEEK_CUR)
    block = max(1, _BLOCK // form.channels)
    for first in range(0, len(samples), block):
        count = min(block, len(samples) - first)
        data = file.read(count * form.frame)
        if len(data) < count * form.frame:  # another program has cut it
            raise ValueError("is truncated")
        decoded = _decode(form.encoding, form.bits, data)
        if form.encoding == _FLOAT and not np.isfinite(decoded).all():
            raise ValueError("is damaged: some samples are not finite")
        if form.channels > 1:
            decoded = decoded.reshape(-1, form.channels).mean(1)
        samples[first : first + count] = decoded
    return samples


def _decode(encoding: int, bits: int, data: bytes) -> np.ndarray:
    """Return float32 samples, with interleaved channels."""
    if encoding == _FLOAT:
        return np.frombuffer(data, "<f4").astype(np.float32)
    if bits == 8:  # the only unsigned format
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if bits == 24:  # as the upper three bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    whole = np.frombuffer(data, f"<i{bits // 8}")
    return (whole / 2.0 ** (bits - 1)).astype(np.float32)


def resample(samples: Tensor, old: int, new: int) -> Tensor:
    """Resample with a windowed sinc filter that cuts off at the lower Nyquist frequency.

    With ``new / old = up / down`` in lowest terms, this inserts ``up - 1`` zeros after each sample,
    filters, and keeps every ``down``-th sample. Each phase of the filter is one convolution with
    stride ``down``, so that the zeros are never computed. The filter is 20 samples of the lower
    rate wide, has a Kaiser window with beta 5, and passes constants unchanged.

    Args:
        samples: Recordings (B, N) float, taken as silent before and after.
        old, new: Samples per second before and after resampling.

    Returns:
        (B, ceil(N * new / old)) float; sample ``n`` is at time ``n / new`` in seconds.

    Raises:
        ValueError: As ``resampling_factors``.

    References:
        Oppenheim and Schafer, "Discrete-Time Signal Processing", sections 4.6 and 4.7.
    """
    up, down = resampling_factors(old, new)
    if up == down:
        return samples
    half = 10 * max(up, down)
    filters, first = _phases(up, half)
    filters = filters.to(samples)
    width, count = filters.shape[1], samples.shape[1]
    length = -(-count * up // down)
    # Filters reach before the first sample and after the last one.
    padded = F.pad(samples, (-first, width + down))[:, None]  # (B, 1, N + ...)
    result = samples.new_empty(len(samples), length)
    for offset in range(min(up, length)):
        # Outputs offset, offset + up, ... are at inputs offset * down / up + (0, down, ...).
        whole, phase = divmod(offset * down, up)
        number = -(-(length - offset) // up)
        # Only what the filter reads, because the convolution copies its input.
        needed = padded[:, :, whole : whole + (number - 1) * down + width]
        if up > _MANY_PHASES:
            result[:, offset::up] = needed[:, 0].unfold(1, width, down) @ filters[phase]
        else:
            outputs = F.conv1d(needed, filters[phase].view(1, 1, -1), stride=down)
            result[:, offset::up] = outputs[:, 0]
    return result


def resampling_factors(old: int, new: int) -> tuple[int, int]:
    """Return ``up`` and ``down``, in lowest terms, with ``new / old = up / down``.

    Raises:
        ValueError: If a factor is above 100,000, which needs a filter of millions of numbers.
    """
    common = math.gcd(old, new)
    up, down = new // common, old // common
    if max(up, down) > _MAX_FACTOR:
        raise ValueError(
            f"cannot be resampled from {old} to {new} samples per second; convert it to a rate "
            "that has a large factor in common"
        )
    return up, down


def _phases(up: int, half: int) -> tuple[Tensor, int]:
    """Return the filter of each phase, (up, taps), and the ``k`` of the first tap.

    An output at the time ``m + phase / up``, in input samples, is the sum over ``k`` of input
    ``m + k`` times the filter at ``k - phase / up``. The filter reaches ``half / up`` input samples
    to each side.
    """
    time = torch.arange(-half, half + 1, dtype=torch.float64)  # in units of 1 / up
    lower = half / 10  # a sample of the lower rate, in the same units
    window = torch.kaiser_window(2 * half + 1, periodic=False, beta=5.0, dtype=torch.float64)
    taps = torch.sinc(time / lower) * window
    taps *= up / taps.sum()
    reach = half // up + 1
    k = torch.arange(-reach, reach + 1)  # input samples
    steps = k * up - torch.arange(up)[:, None]  # (up, taps), from the output to the input
    inside = steps.abs() <= half
    return torch.where(inside, taps[(steps + half).clamp(0, 2 * half)], 0.0), -reach
