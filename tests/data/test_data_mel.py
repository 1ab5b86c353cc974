"""Spectrograms, compared with librosa and with their definition."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from darts.data.mel import SILENCE, Spectrogram, fit_length, mel_filters


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
    ("options", "message"),
    [
        ({"hop": 0.01}, "are 400 and 0 samples at rate=16000"),
        ({"seconds": 0.05}, "64 bands and 6 frames is too small"),
        ({"mels": 256}, r"mels=256: \d+ bands contain no frequency for window=25 milliseconds"),
    ],
)
def test_invalid_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Spectrogram(**options)
    assert "\n" not in str(caught.value)
