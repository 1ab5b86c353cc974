"""Log-mel spectrograms: a recording as an image of frequency bands by time.

References:
    Stevens, Volkmann and Newman, "A Scale for the Measurement of the Psychological Magnitude
    Pitch", 1937.
    Slaney, "Auditory Toolbox", Interval Research report 1998-010, whose scale is linear to 1 kHz.
    Young et al., "The HTK Book", section 5.4, whose scale is 2595 log10(1 + f / 700).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["SCALES", "SILENCE", "Spectrogram", "fitted", "mel_filters"]

SCALES = ("slaney", "htk")
SILENCE = -80.0
"""The decibels that a spectrogram does not go below; a recording of zeros has them everywhere."""

_LEAST = 8  # bands and frames; the smallest image that convolutional networks are made for


@dataclass(frozen=True)
class Spectrogram:
    """How recordings become log-mel spectrograms of one size.

    Attributes:
        rate: samples a second.
        mels: number of bands, up to half the rate.
        window: length of the Hann window in milliseconds.
        hop: from one window to the next, in milliseconds.
        seconds: length of a recording.
        scale: "slaney" or "htk", the definition of mel.

    Raises:
        ValueError: in one line, if a value is out of range, the spectrogram would be smaller than
            8 x 8, or a band so narrow that no frequency falls into it.
    """

    rate: int = 16000
    mels: int = 64
    window: float = 25.0
    hop: float = 10.0
    seconds: float = 1.0
    scale: str = "slaney"

    def __post_init__(self) -> None:
        for name in ("rate", "mels", "window", "hop", "seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {self.scale!r}")
        if self.step < 1 or self.span < 2:
            raise ValueError(
                f"window={self.window:g} and hop={self.hop:g} milliseconds are {self.span} and "
                f"{self.step} samples at a rate of {self.rate}; at least 2 and 1 are needed"
            )
        if min(self.shape) < _LEAST:
            raise ValueError(
                f"a spectrogram of {self.shape[0]} bands and {self.shape[1]} frames is too small; "
                f"at least {_LEAST} of each are needed: change mels, hop or seconds"
            )
        empty = (mel_filters(self.rate, self.fft, self.mels, self.scale) == 0).all(1)
        if empty.any():
            raise ValueError(
                f"mels={self.mels} is too many for a window of {self.window:g} milliseconds at a "
                f"rate of {self.rate}: {int(empty.sum())} bands would hold no frequency; take "
                "fewer bands or a longer window"
            )

    @property
    def samples(self) -> int:
        """Samples of a recording."""
        return round(self.rate * self.seconds)

    @property
    def span(self) -> int:
        """Samples of a window."""
        return round(self.rate * self.window / 1000)

    @property
    def step(self) -> int:
        """Samples between windows."""
        return round(self.rate * self.hop / 1000)

    @property
    def fft(self) -> int:
        """Length of the Fourier transform: the window with zeros up to a power of two."""
        return 1 << (self.span - 1).bit_length()

    @property
    def shape(self) -> tuple[int, int]:
        """Bands and frames. A frame is centerd on every `step`-th sample, the first included."""
        return self.mels, 1 + self.samples // self.step

    def __call__(self, recordings: Tensor) -> Tensor:
        """Decibels of the mean power in each band; the lowest band comes first.

        Args:
            recordings: (B, samples) float, silent before and after.

        Returns:
            (B, mels, frames) float32.
        """
        window = torch.hann_window(self.span, device=recordings.device)
        spectra = torch.stft(
            recordings.float(),
            self.fft,
            self.step,
            self.span,
            window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = torch.view_as_real(spectra).square().sum(-1)  # (B, fft / 2 + 1, frames)
        bands = mel_filters(self.rate, self.fft, self.mels, self.scale).to(power) @ power
        return bands.clamp_(min=10 ** (SILENCE / 10)).log10_().mul_(10)


def fitted(samples: Tensor, count: int) -> Tensor:
    """A recording (..., N) padded with silence or cropped to (..., count), about its middle.

    The middle is kept since it is there that speech is: who cuts a recording out, or presses a
    button, leaves some silence on both sides.
    """
    missing = count - samples.shape[-1]
    before = missing // 2  # rounded down for a crop as well
    return F.pad(samples, (before, missing - before))


@functools.lru_cache(maxsize=8)
def mel_filters(rate: int, fft: int, mels: int, scale: str = "slaney") -> Tensor:
    """Triangles over the frequencies of a Fourier transform, each of area one over hertz.

    Their corners are evenly spaced in mel from 0 to half the rate; neighbors overlap by half.

    Args:
        rate: samples a second.
        fft: length of the transform.
        mels: number of triangles.
        scale: "slaney" or "htk".

    Returns:
        (mels, fft // 2 + 1) float32.
    """
    top = _mel(rate / 2, scale)
    corners = [_hertz(top * n / (mels + 1), scale) for n in range(mels + 2)]
    edges = torch.tensor(corners, dtype=torch.float64)[:, None]
    hertz = torch.arange(fft // 2 + 1, dtype=torch.float64) * (rate / fft)
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hertz - low) / (center - low), (high - hertz) / (high - center)
    triangles = torch.minimum(rising, falling).clamp(min=0)  # (mels, fft / 2 + 1), 1 at the tip
    return (triangles * 2 / (high - low)).float()


_LINEAR = 200 / 3  # hertz a mel below 1 kHz
_CORNER = 1000 / _LINEAR  # mel of 1 kHz
_GROWTH = math.log(6.4) / 27  # above: a factor of 6.4 in 27 mel


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
