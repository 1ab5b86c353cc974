"""Log-mel spectrograms: a recording as an image of frequency bands by time.

References:
    Stevens, Volkmann and Newman, "A Scale for the Measurement of the Psychological Magnitude
    Pitch", 1937.
    Slaney, "Auditory Toolbox", Interval Research report 1998-010: the scale linear up to 1 kHz.
    Young et al., "The HTK Book", section 5.4: the scale 2595 log10(1 + f / 700).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.registry import choice, number

# Minimum of a spectrogram in decibels; the value of digital silence.
SILENCE = -80.0

_MIN_SIZE = 8  # bands and frames; the smallest image of the convolutional networks


@dataclass
class SpectrogramOptions:
    """Options of spectrograms."""

    rate: int = number(16000, low=1000, high=1_000_000)  # Hz; other rates are resampled
    mels: int = number(64, low=8, high=1024)  # bands from 0 to half the rate: height of an image
    window: float = number(25.0, above=0, high=10_000)  # milliseconds, of the Hann window
    hop: float = number(10.0, above=0, high=10_000)  # milliseconds between two frames
    seconds: float = number(1.0, above=0, high=3600)  # recordings are padded or cropped to this
    scale: str = choice("slaney", "slaney", "htk")  # definition of mel, see the references


@dataclass
class Spectrogram(SpectrogramOptions):
    """Transform from recordings to log-mel spectrograms of one size."""

    def __post_init__(self) -> None:
        if self.hop_samples < 1 or self.window_samples < 2:
            raise ValueError(
                f"window={self.window:g} and hop={self.hop:g} milliseconds are "
                f"{self.window_samples} and {self.hop_samples} samples at rate={self.rate}; set "
                "them to at least 2 samples and 1 sample"
            )
        if min(self.shape) < _MIN_SIZE:
            raise ValueError(
                f"a spectrogram of {self.shape[0]} bands and {self.shape[1]} frames is too small; "
                f"change mels, hop or seconds to get at least {_MIN_SIZE} of each"
            )
        empty = (mel_filters(self.rate, self.fft, self.mels, self.scale) == 0).all(1)
        if empty.any():
            raise ValueError(
                f"mels={self.mels}: {int(empty.sum())} bands contain no frequency for "
                f"window={self.window:g} milliseconds at rate={self.rate}; use fewer bands or a "
                "longer window"
            )

    @property
    def samples(self) -> int:
        """Samples per recording."""
        return round(self.rate * self.seconds)

    @property
    def window_samples(self) -> int:
        """Samples per window."""
        return round(self.rate * self.window / 1000)

    @property
    def hop_samples(self) -> int:
        """Samples between the starts of successive windows."""
        return round(self.rate * self.hop / 1000)

    @property
    def fft(self) -> int:
        """Length of the Fourier transform: the smallest power of two that covers a window."""
        return 1 << (self.window_samples - 1).bit_length()

    @property
    def shape(self) -> tuple[int, int]:
        """Bands and frames. Frames are centered on the samples 0, hop, 2 hop, ..."""
        return self.mels, 1 + self.samples // self.hop_samples

    def __call__(self, recordings: Tensor) -> Tensor:
        """Return the mean power of each band in decibels, lowest band first.

        The recordings (B, samples) are taken as silent before and after; the result is
        (B, mels, frames) float32.
        """
        window = torch.hann_window(self.window_samples, device=recordings.device)
        spectra = torch.stft(
            recordings.float(),
            self.fft,
            self.hop_samples,
            self.window_samples,
            window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = torch.view_as_real(spectra).square().sum(-1)  # (B, fft / 2 + 1, frames)
        bands = mel_filters(self.rate, self.fft, self.mels, self.scale).to(power) @ power
        return bands.clamp_(min=10 ** (SILENCE / 10)).log10_().mul_(10)


def fit_length(samples: Tensor, count: int) -> Tensor:
    """Pad recordings (..., N) with silence, or crop them, to (..., count).

    Both ends change equally, because the speech is usually in the middle of a recording.
    """
    missing = count - samples.shape[-1]
    before = missing // 2  # rounded down for a crop as well
    return F.pad(samples, (before, missing - before))


@functools.lru_cache(maxsize=8)
def mel_filters(rate: int, fft: int, mels: int, scale: str = "slaney") -> Tensor:
    """Return triangular filters over the frequencies of a Fourier transform.

    Their corners are evenly spaced in mel from 0 to half the rate. Each filter ends at the peak of
    the next one and has area 1 over frequency in hertz. The result is (mels, fft // 2 + 1) float32.
    """
    top = _mel(rate / 2, scale)
    corners = [_hertz(top * n / (mels + 1), scale) for n in range(mels + 2)]
    edges = torch.tensor(corners, dtype=torch.float64)[:, None]
    hertz = torch.arange(fft // 2 + 1, dtype=torch.float64) * (rate / fft)
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hertz - low) / (center - low), (high - hertz) / (high - center)
    triangles = torch.minimum(rising, falling).clamp(min=0)  # (mels, fft / 2 + 1), peak 1
    return (triangles * 2 / (high - low)).float()


_LINEAR = 200 / 3  # hertz per mel below 1 kHz
_CORNER = 1000 / _LINEAR  # mel of 1 kHz
_GROWTH = math.log(6.4) / 27  # above 1 kHz: a factor of 6.4 per 27 mel


def _mel(hertz: float, scale: str) -> float:
    if scale == "htk":
        return 2595 * math.log10(1 + hertz / 700)
    if hertz < 1000:
        return hertz / _LINEAR
    return _CORNER + math.log(hertz / 1000) / _GROWTH


def _hertz(mel: float, scale: str) -> float:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    if mel < _CORNER:
        return mel * _LINEAR
    return 1000 * math.exp((mel - _CORNER) * _GROWTH)
