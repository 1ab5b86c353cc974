"""Reading of WAV files, and resampling.

Python's ``wave`` module reads integers only and fails on files of more than two channels, so the
chunks are parsed here. A file is "RIFF", a length, "WAVE", and chunks. A chunk is a name of four
letters, a length and content. The chunk ``fmt `` gives the format of the samples, which are in the
chunk ``data``.

References:
    Microsoft, "Multiple Channel Audio Data and WAVE Files", 2007.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_LENGTH = 0xFFFFFFFF  # in streamed files, whose writer could not correct it
_MAX_RATE = 1_000_000


def read_wav(path: str | os.PathLike[str]) -> tuple[Tensor, int]:
    """Read a WAV file and mix it to one channel.

    Args:
        path: File of any rate and number of channels, whose samples are integers of 8, 16, 24 or 32
            bits, or float32.

    Returns:
        Samples (N,) float32, with full scale 1.0, and the rate in samples per second.

    Raises:
        ValueError: If the file has another format, is damaged or empty; the message names it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    try:
        encoding, channels, rate, bits, data = _parse_chunks(content)
        samples = _decode(encoding, bits, data)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    if len(samples) == 0 or len(samples) % channels:
        raise ValueError(
            f"{path} is damaged: it has {len(samples)} samples for {channels} channels"
        )
    if encoding == _FLOAT and not np.isfinite(samples).all():
        raise ValueError(f"{path} is damaged: some samples are not finite")
    if channels > 1:
        samples = samples.reshape(-1, channels).mean(1)
    return torch.from_numpy(samples), rate


def _parse_chunks(content: bytes) -> tuple[int, int, int, int, bytes]:
    """Return encoding, channels, rate, bits per sample, and the bytes of the samples."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("is not a WAV file: it does not begin with RIFF and WAVE")
    audio_format = None
    position = 12
    while position + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, position)
        body = content[position + 8 : position + 8 + length]
        if name == b"data":
            if audio_format is None:
                raise ValueError("is damaged: there is no fmt chunk before the samples")
            encoding, channels, rate, bits = audio_format
            frame = channels * bits // 8
            if length == _UNKNOWN_LENGTH:
                body = body[: len(body) - len(body) % frame]
            elif len(body) < length:
                raise ValueError(f"is truncated: it has {len(body)} of {length} bytes of samples")
            elif length % frame:
                raise ValueError(
                    f"is damaged: {length} bytes are not a multiple of {frame}, the size of a frame"
                )
            return encoding, channels, rate, bits, body
        if name == b"fmt ":
            audio_format = _parse_format(body)
        position += 8 + length + length % 2
    raise ValueError("is damaged: it has no data chunk")


def _parse_format(body: bytes) -> tuple[int, int, int, int]:
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
    if channels == 0 or not 0 < rate <= _MAX_RATE:
        raise ValueError(f"is damaged: {channels} channels at {rate} samples per second")
    return encoding, channels, rate, bits


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

    References:
        Oppenheim and Schafer, "Discrete-Time Signal Processing", sections 4.6 and 4.7.
    """
    common = math.gcd(old, new)
    up, down = new // common, old // common
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
        outputs = F.conv1d(padded[:, :, whole:], filters[phase].view(1, 1, -1), stride=down)
        result[:, offset::up] = outputs[:, 0, :number]
    return result


def _phases(up: int, half: int) -> tuple[Tensor, int]:
    """Return the filter of each phase, (up, taps), and the offset of the first tap to output 0.

    An output at the time ``m + phase / up``, in input samples, is the sum over ``k`` of input
    ``m + k`` times the filter at ``k - phase / up``.
    """
    time = torch.arange(-half, half + 1, dtype=torch.float64)  # in units of 1 / up
    lower = half / 10  # steps per sample of the lower rate
    window = torch.kaiser_window(2 * half + 1, periodic=False, beta=5.0, dtype=torch.float64)
    taps = torch.sinc(time / lower) * window
    taps *= up / taps.sum()
    reach = half // up + 1
    k = torch.arange(-reach, reach + 1)  # input samples
    steps = k * up - torch.arange(up)[:, None]  # (up, taps), from the output to the input
    inside = steps.abs() <= half
    return torch.where(inside, taps[(steps + half).clamp(0, 2 * half)], 0.0), -reach
