"""Spectrograms, compared with librosa, and SpecAugment, compared with its definition."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from darts.data.augment import Normalization
from darts.data.mel import SILENCE, Spectrogram, fit_length, mel_filters
from darts.data.randomness import generator
from darts.data.spec_augment import SpecAugment


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(
    ("rate", "fft", "mels"), [(8000, 256, 40), (16000, 512, 64), (22050, 2048, 128), (1600, 64, 8)]
)
def test_filters_equal_those_of_librosa(rate: int, fft: int, mels: int, scale: str) -> None:
    with warnings.catch_warnings():  # from its imports, on newer Python versions
        warnings.simplefilter("ignore")
        import librosa.filters

        wanted = librosa.filters.mel(sr=rate, n_fft=fft, n_mels=mels, htk=scale == "htk")
    found = mel_filters(rate, fft, mels, scale)
    assert found.shape == (mels, fft // 2 + 1)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-9)


TRANSFORMS = [
    Spectrogram(),
    Spectrogram(rate=8000, mels=40, window=32, hop=16, scale="htk"),
    Spectrogram(rate=22050, mels=32, window=50, hop=7.3, seconds=0.31),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_spectrograms_equal_their_definition(transform: Spectrogram) -> None:
    size, hop, fft = transform.window_samples, transform.hop_samples, transform.fft
    window = np.zeros(fft)
    start = (fft - size) // 2
    window[start : start + size] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    filters = mel_filters(transform.rate, fft, transform.mels, transform.scale).numpy()
    # Three recordings: noise, quiet noise, and noise that ends in silence.
    noise = np.random.default_rng(0).normal(size=(3, transform.samples)).astype(np.float32)
    noise[1] *= 1e-3
    noise[2, transform.samples // 2 :] = 0
    for row, one in zip(noise, transform(torch.from_numpy(noise)), strict=True):
        padded = np.pad(row.astype(float), fft // 2)
        frames = [padded[i : i + fft] * window for i in range(0, len(padded) - fft + 1, hop)]
        power = filters @ np.abs(np.fft.rfft(frames)).T ** 2
        wanted = 10 * np.log10(np.maximum(power, 10 ** (SILENCE / 10)))
        np.testing.assert_allclose(one.numpy(), wanted, atol=1e-3, rtol=0)


def test_recordings_are_padded_and_cropped_at_both_ends() -> None:
    samples = torch.arange(1.0, 6.0)
    assert fit_length(samples, 5).tolist() == [1, 2, 3, 4, 5]
    assert fit_length(samples, 9).tolist() == [0, 0, 1, 2, 3, 4, 5, 0, 0]
    assert fit_length(samples, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert fit_length(samples, 3).tolist() == [2, 3, 4]
    assert fit_length(samples, 2).tolist() == [3, 4]
    assert fit_length(samples, 1).tolist() == [3]
    assert fit_length(samples[None], 7).shape == (1, 7)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Spectrogram, {"hop": 0.01}, "are 400 and 0 samples at rate=16000"),
        (Spectrogram, {"seconds": 0.05}, "64 bands and 6 frames is too small"),
        (
            Spectrogram,
            {"mels": 256},
            r"mels=256: \d+ bands contain no frequency for window=25 mill",
        ),
        (SpecAugment, {"frequency_width": 13}, "frequency_width=13 is more than the 12 bands"),
        (SpecAugment, {"frequency_width": 2, "time_width": 10}, "time_width=10 is more than the 9"),
        (SpecAugment, {"frequency_width": 2, "shift": 10}, "shift=10 is more than the 9 frames"),
    ],
)
def test_invalid_options_are_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        kind(**options).check((1, 12, 9), in_memory=True)
    assert "\n" not in str(caught.value)


BANDS, FRAMES = 12, 9
MEAN, STD = -40.0, 15.0


def augment_point_by_point(pixels: Tensor, draws: Tensor, options: SpecAugment) -> Tensor:
    result = torch.zeros(pixels.shape)
    for n, (shift, *masks) in enumerate(draws.t().tolist()):
        pairs = list(zip(masks[::2], masks[1::2], strict=True))
        for band in range(BANDS):
            for frame in range(FRAMES):
                inside = 0 <= frame - shift < FRAMES
                value = pixels[n, 0, band, frame - shift].item() if inside else SILENCE
                masked = any(
                    first <= (band if number < options.frequency_masks else frame) < first + width
                    for number, (width, first) in enumerate(pairs)
                )
                result[n, 0, band, frame] = 0.0 if masked else (value - MEAN) / STD
    return result


@pytest.mark.parametrize(
    "options",
    [
        SpecAugment(2, 4, 2, 3, 3),
        SpecAugment(1, 12, 0, 3, 0),
        SpecAugment(0, 4, 1, 9, 9),
        SpecAugment(0, 0, 0, 0, 2),
        SpecAugment(0, 0, 0, 0, 0),
        SpecAugment(3, 0, 2, 0, 0),
    ],
)
def test_a_batch_equals_the_definition_point_by_point(options: SpecAugment) -> None:
    pixels = -80 + 90 * torch.rand(20, 1, BANDS, FRAMES, generator=generator("decibels"))
    before = pixels.clone()
    draws = options.draw(len(pixels), (BANDS, FRAMES), generator(1))
    assert draws.dtype == torch.int64
    assert draws.shape == (1 + 2 * (options.frequency_masks + options.time_masks), len(pixels))
    normalization = Normalization((MEAN,), (STD,), torch.device("cpu"), full_scale=1)
    found = options.apply(pixels, draws, normalization)
    torch.testing.assert_close(
        found, augment_point_by_point(pixels, draws, options), atol=2e-6, rtol=1e-5
    )
    assert torch.equal(pixels, before)


def test_widths_and_positions_of_masks_are_uniform() -> None:
    options = SpecAugment(1, 5, 1, 4, 2)
    shift, f, f0, t, t0 = options.draw(6000, (BANDS, FRAMES), generator(2))
    assert set(shift.tolist()) == set(range(-2, 3))
    assert set(f.tolist()) == set(range(6))
    assert set(t.tolist()) == set(range(5))
    assert torch.bincount(f).min() > 6000 / 6 * 0.85  # all widths are equally likely
    for width, first, side in ((f, f0, BANDS), (t, t0, FRAMES)):
        assert (first >= 0).all()
        assert (first + width <= side).all()
        for value in width.unique().tolist():
            places = first[width == value]
            assert set(places.tolist()) == set(range(side - value + 1))
    both = torch.corrcoef(torch.stack([shift, f, t]).double())
    assert (both - torch.eye(3)).abs().max() < 0.06
