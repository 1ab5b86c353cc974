"""WAV files as samples, and samples at another rate.

Python's own reader knows whole numbers only and stumbles over files of more than two channels, so
the chunks are read here: a file is "RIFF", its length, "WAVE", and then chunks of four letters, a
length and content, of which `fmt ` says what the numbers in `data` are.

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

__all__ = ["read_wav", "resample"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN = 0xFFFFFFFF  # the length that a program writes which cannot go back to correct it
_MAX_RATE = 1_000_000


def read_wav(path: str | os.PathLike[str]) -> tuple[Tensor, int]:
    """The samples of a WAV file, mixed to one channel, and how many make a second.

    Args:
        path: of the file: whole numbers of 8, 16, 24 or 32 bits, or float32; any rate, any number
            of channels.

    Returns:
        (N,) float32, with 1.0 for the loudest that whole numbers can be; and the rate in hertz.

    Raises:
        ValueError: in one line that names the file, if it is no such file, is damaged or empty.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        kind, channels, rate, bits, data = _chunks(content)
        samples = _numbers(kind, bits, data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len(samples) == 0 or len(samples) % channels:
        what = f"{len(samples)} samples" if len(samples) else "no sample"
        raise ValueError(f"{path}: is damaged: it holds {what} for {channels} channels")
    if kind == _FLOAT and not np.isfinite(samples).all():
        raise ValueError(f"{path}: is damaged: not every sample is a finite number")
    if channels > 1:
        samples = samples.reshape(-1, channels).mean(1)
    return torch.from_numpy(samples), rate


def _chunks(content: bytes) -> tuple[int, int, int, int, bytes]:
    """Kind of numbers, channels, rate, bits a number, and the bytes of the samples."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("is no WAV file: it does not begin with RIFF and WAVE")
    form = None
    place = 12
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        body = content[place + 8 : place + 8 + length]
        if name == b"data":
            if form is None:
                raise ValueError("is damaged: no fmt chunk stands before the samples")
            kind, channels, rate, bits = form
            frame = channels * bits // 8
            if length == _UNKNOWN:
                body = body[: len(body) - len(body) % frame]
            elif len(body) < length:
                raise ValueError(f"is cut short: {len(body)} of {length} bytes of samples")
            elif length % frame:
                raise ValueError(f"is damaged: {length} bytes are no multiple of {frame} a sample")
            return kind, channels, rate, bits, body
        if name == b"fmt ":
            form = _form(body)
        place += 8 + length + length % 2
    raise ValueError("is damaged: it has no samples (no data chunk)")


def _form(body: bytes) -> tuple[int, int, int, int]:
    if len(body) < 16:
        raise ValueError("is damaged: its fmt chunk is too short")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if kind == _EXTENSIBLE and len(body) >= 26:
        (kind,) = struct.unpack_from("<H", body, 24)
    if (kind, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)}:
        raise ValueError(
            f"holds samples of format {kind} with {bits} bits; whole numbers (1) of 8, 16, 24 or "
            "32 bits and floats (3) of 32 bits can be read"
        )
    if channels == 0 or not 0 < rate <= _MAX_RATE:
        raise ValueError(f"is damaged: {channels} channels at {rate} samples a second")
    return kind, channels, rate, bits


def _numbers(kind: int, bits: int, data: bytes) -> np.ndarray:
    """Float32 samples, those of the channels in turn."""
    if kind == _FLOAT:
        return np.frombuffer(data, "<f4").astype(np.float32)
    if bits == 8:  # the only kind without a sign
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if bits == 24:  # the upper three bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    whole = np.frombuffer(data, f"<i{bits // 8}")
    return (whole / 2.0 ** (bits - 1)).astype(np.float32)


def resample(samples: Tensor, old: int, new: int) -> Tensor:
    """Samples at another rate, by a windowed sinc that cuts off at the lower Nyquist frequency.

    With `new / old = up / down` in lowest terms, this is `up - 1` zeros after each sample, the
    filter, and every `down`-th sample of the outcome; each phase of the filter is one convolution
    at stride `down`, so that the zeros are never touched. The filter is 20 samples of the lower
    rate wide, under a Kaiser window with beta 5, and passes a constant unchanged.

    Args:
        samples: (B, N) float.
        old: their rate in hertz.
        new: the rate wanted.

    Returns:
        (B, ceil(N * new / old)), in which sample `n` is of the time `n / new`. Outside its samples
        a signal counts as silent.

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
    wanted = -(-count * up // down)
    # The last output may reach beyond the end as the first does before the start.
    padded = F.pad(samples, (-first, width + down))[:, None]  # (B, 1, N + ...)
    result = samples.new_empty(len(samples), wanted)
    for offset in range(min(up, wanted)):
        # Outputs offset, offset + up, ... stand at input offset * down / up, down further each.
        whole, phase = divmod(offset * down, up)
        number = -(-(wanted - offset) // up)
        part = F.conv1d(padded[:, :, whole:], filters[phase].view(1, 1, -1), stride=down)
        result[:, offset::up] = part[:, 0, :number]
    return result


def _phases(up: int, half: int) -> tuple[Tensor, int]:
    """The filter for each phase, (up, taps), and the input of the first tap relative to output 0.

    An output at the time `m + phase / up`, in input samples, is the sum over `k` of input `m + k`
    times the filter at `k - phase / up`.
    """
    time = torch.arange(-half, half + 1, dtype=torch.float64)  # in steps of 1 / up
    lower = half / 10  # steps a sample of the lower rate
    window = torch.kaiser_window(2 * half + 1, periodic=False, beta=5.0, dtype=torch.float64)
    taps = torch.sinc(time / lower) * window
    taps *= up / taps.sum()
    reach = half // up + 1
    k = torch.arange(-reach, reach + 1)  # input samples
    steps = k * up - torch.arange(up)[:, None]  # (up, taps), from the output to the input
    inside = steps.abs() <= half
    return torch.where(inside, taps[(steps + half).clamp(0, 2 * half)], 0.0), -reach
