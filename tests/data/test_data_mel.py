"""Spectrograms against librosa, and against what the words say."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from darts.data.mel import SILENCE, Spectrogram, fitted, mel_filters


@pytest.fixture(scope="module")
def librosa() -> Any:
    with warnings.catch_warnings():  # of what it imports, on newer Pythons
        warnings.simplefilter("ignore")
        import librosa
        import librosa.feature
        import librosa.filters

        librosa.filters.mel(sr=8000, n_fft=256)  # the rest is imported when first called
    return librosa


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(
    ("rate", "fft", "mels"), [(8000, 256, 40), (16000, 512, 64), (22050, 2048, 128), (1600, 64, 8)]
)
def test_the_filters_are_those_of_librosa(
    rate: int, fft: int, mels: int, scale: str, librosa: Any
) -> None:
    wanted = librosa.filters.mel(sr=rate, n_fft=fft, n_mels=mels, htk=scale == "htk")
    found = mel_filters(rate, fft, mels, scale)
    assert found.shape == (mels, fft // 2 + 1)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "form",
    [
        Spectrogram(),
        Spectrogram(rate=8000, mels=40, window=32, hop=16, scale="htk"),
        Spectrogram(rate=22050, mels=32, window=50, hop=7.3, seconds=0.31),
    ],
)
def test_spectrograms_are_those_of_librosa(form: Spectrogram, librosa: Any) -> None:
    """To a thousandth of a decibel."""
    noise = np.random.default_rng(0).normal(size=(3, form.samples)).astype(np.float32)
    noise[1] *= 1e-3
    noise[2, form.samples // 2 :] = 0
    found = form(torch.from_numpy(noise))
    assert found.dtype == torch.float32
    assert found.shape == (3, *form.shape)
    for row, one in zip(noise, found, strict=True):
        power = librosa.feature.melspectrogram(
            y=row,
            sr=form.rate,
            n_fft=form.fft,
            hop_length=form.step,
            win_length=form.span,
            pad_mode="constant",
            n_mels=form.mels,
            htk=form.scale == "htk",
        )
        wanted = librosa.power_to_db(power, ref=1.0, amin=10 ** (SILENCE / 10), top_db=None)
        np.testing.assert_allclose(one.numpy(), wanted, atol=1e-3, rtol=0)
    assert found[2, :, -1].eq(SILENCE).all()


def test_published_points_of_the_scales() -> None:
    """1,000 Hz are 15 mel of Slaney's and 1,000 of HTK's; corners are evenly spaced between."""
    tips = mel_filters(2000, 2000, 14, "slaney").argmax(1)  # a bin a hertz
    assert tips.tolist() == [round(200 / 3 * n) for n in range(1, 15)]
    top = 2595 * math.log10(1 + 4000 / 700)
    tips = mel_filters(8000, 8000, 9, "htk").argmax(1)
    wanted = [700 * (10 ** (top * n / 10 / 2595) - 1) for n in range(1, 10)]
    assert (tips - torch.tensor(wanted)).abs().max() < 1
    assert 2595 * math.log10(1 + 1000 / 700) == pytest.approx(1000, abs=0.02)


def test_every_filter_is_a_triangle_of_area_one() -> None:
    filters = mel_filters(16000, 16000, 40)  # a bin a hertz
    assert (filters.sum(1) - 1).abs().max() < 1e-3
    for row in filters:
        inside = row[row > 0]
        tip = int(inside.argmax())
        assert (inside[: tip + 1].diff() > 0).all()
        assert (inside[tip:].diff() < 0).all()


def test_a_tone_lights_the_band_that_it_is_in() -> None:
    form = Spectrogram(rate=8000, mels=32, window=32, hop=16)
    filters = mel_filters(8000, form.fft, 32)
    for bin_ in (10, 40, 100):
        tone = torch.sin(2 * torch.pi * bin_ / form.fft * torch.arange(form.samples))
        middle = form(tone[None])[0, :, 5:-5]
        assert (middle.argmax(0) == filters[:, bin_].argmax()).all()


def test_ten_times_the_signal_is_twenty_decibels() -> None:
    form = Spectrogram(rate=8000)
    noise = torch.randn(2, form.samples, generator=torch.Generator().manual_seed(1))
    difference = form(10 * noise) - form(noise)
    torch.testing.assert_close(difference, torch.full_like(difference, 20), atol=1e-3, rtol=0)


def test_sizes_follow_from_times() -> None:
    form = Spectrogram(rate=8000, mels=40, window=32, hop=16, seconds=1.0)
    assert (form.samples, form.span, form.step, form.fft) == (8000, 256, 128, 256)
    assert form.shape == (40, 63)
    assert Spectrogram(window=25).fft == 512


def test_recordings_are_fitted_about_their_middle() -> None:
    samples = torch.arange(1.0, 6.0)
    assert fitted(samples, 5).tolist() == [1, 2, 3, 4, 5]
    assert fitted(samples, 9).tolist() == [0, 0, 1, 2, 3, 4, 5, 0, 0]
    assert fitted(samples, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert fitted(samples, 3).tolist() == [2, 3, 4]
    assert fitted(samples, 2).tolist() == [3, 4]
    assert fitted(samples, 1).tolist() == [3]
    assert fitted(samples[None], 7).shape == (1, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate must be above 0, not 0"),
        ({"seconds": -1.0}, "seconds must be above 0, not -1"),
        ({"scale": "bark"}, "scale must be one of slaney, htk, not 'bark'"),
        ({"hop": 0.01}, "are 400 and 0 samples at a rate of 16000"),
        ({"window": 0.05}, "are 1 and 160 samples"),
        ({"seconds": 0.05}, "64 bands and 6 frames is too small"),
        ({"mels": 4}, "4 bands and 101 frames is too small"),
        ({"mels": 256}, r"mels=256 is too many for a window of 25 milliseconds.* \d+ bands"),
        ({"window": 2.0}, "take fewer bands or a longer window"),
    ],
)
def test_what_is_no_spectrogram_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Spectrogram(**options)
    assert "\n" not in str(caught.value)
