"""Augmentation of images, spectrograms, and SpecAugment, compared with their definitions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from default_augmentation import augmentation
from torch import Tensor
from torchvision.transforms.v2 import functional

from darts.data.augment import (
    Augmentation,
    Normalization,
    color_factors,
    jitter_colors,
    resized_box,
)
from darts.data.mel import SILENCE, Spectrogram, fit_length, mel_filters
from darts.data.randomness import generator, seed_for
from darts.data.spec_augment import SpecAugment

CPU = torch.device("cpu")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def images(count: int = 12, height: int = 9, width: int = 7) -> Tensor:
    draw, shape = generator("pixels"), (count, 3, height, width)
    return torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)


def augment_pixel_by_pixel(pixels: Tensor, draws: Tensor, options: Augmentation) -> Tensor:
    result = torch.zeros(pixels.shape)
    _, channels, height, width = pixels.shape
    for n, (row, column, flip, y, x) in enumerate(draws.t().tolist()):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    source_j = width - 1 - j if options.flip and flip else j
                    source_i = i
                    if options.crop == "pad":
                        source_i += row - options.padding
                        source_j += column - options.padding
                    inside = 0 <= source_i < height and 0 <= source_j < width
                    value = pixels[n, c, source_i, source_j].item() if inside else 0
                    result[n, c, i, j] = (value / 255 - MEAN[c]) / STD[c]
                    top, left = y - options.cutout // 2, x - options.cutout // 2
                    if top <= i < top + options.cutout and left <= j < left + options.cutout:
                        result[n, c, i, j] = 0
    return result


@pytest.mark.parametrize(
    "options",
    [
        augmentation(),
        augmentation(padding=2, cutout=3),
        augmentation(padding=0),
        augmentation(flip=False, cutout=4),
        augmentation(crop="none"),
        augmentation(crop="none", flip=False, cutout=20),
    ],
)
def test_augment_equals_the_definition_pixel_by_pixel(options: Augmentation) -> None:
    pixels = images()
    draws = options.draw(len(pixels), (9, 7), generator(1))
    fast = options.apply(pixels, draws, Normalization(MEAN, STD, torch.device("cpu")))
    expected = augment_pixel_by_pixel(pixels, draws, options)
    torch.testing.assert_close(fast, expected, atol=2e-6, rtol=1e-5)


def test_draws_are_independent_and_uniform() -> None:
    draws = augmentation(padding=2).draw(4000, (9, 7), generator(5))
    rows, columns, flips, y, x = draws
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(5))
    assert set(y.tolist()) == set(range(9))
    assert set(x.tolist()) == set(range(7))
    assert abs(flips.float().mean().item() - 0.5) < 0.05
    assert (torch.corrcoef(draws.double()) - torch.eye(5)).abs().max() < 0.08
    assert torch.bincount(rows).min() > 4000 / 5 * 0.85


def test_resized_boxes_are_inside_the_image_and_in_the_published_ranges() -> None:
    uniform = torch.rand(500, 10, 4, generator=generator(8), dtype=torch.float64).tolist()
    areas = []
    for attempts in uniform:
        left, upper, right, lower = resized_box(100, 80, attempts)
        assert 0 <= left < right <= 100
        assert 0 <= upper < lower <= 80
        areas.append((right - left) * (lower - upper) / 8000)
        assert 0.7 < (right - left) / (lower - upper) < 1.4
    assert min(areas) < 0.15
    assert max(areas) > 0.85
    assert len(set(areas)) > 300


def test_boxes_that_never_fit_fall_back_to_the_center() -> None:
    left, upper, right, lower = resized_box(1000, 10, [(0.99, 0.5, 0.5, 0.5)] * 10)
    assert (upper, lower) == (0, 10)
    assert right - left == 13
    assert abs((left + right) / 2 - 500) <= 1


def test_seeds_are_stable_and_distinguish_names() -> None:
    assert seed_for(0, "weights", "order", 0) == 8508628605750973431
    names = [(1, "2"), ("1", 2), ("12",), (12,), (1, 2), ("1:2",), (), (0,), ("",)]
    assert len({seed_for(*name) for name in names}) == len(names)
    assert all(0 <= seed_for("seed", n) < 2**63 for n in range(200))
    assert math.isclose(sum(seed_for(n) % 2 for n in range(1000)), 500, abs_tol=80)


def test_numbers_are_padded_with_their_mean_and_one_row_is_not_shifted_away() -> None:
    options, normalize = augmentation(padding=3), Normalization((273.0,), (2.0,), CPU, 1)
    numbers = 273 + 2 * torch.randn(64, 1, 1, 9, generator=generator("numbers"))
    draws = options.draw(64, (1, 9), generator(1))
    shifted = options.apply(numbers, draws, normalize)
    assert draws[0].eq(0).all()
    for own, values, offset, flip in zip(shifted, normalize(numbers), *draws[1:3], strict=True):
        expected = torch.nn.functional.pad(values, (3, 3))[..., offset : offset + 9]
        assert torch.equal(own, expected.flip(2) if flip else expected)


CHANGES = (
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
)


def test_jitter_applies_the_changes_in_the_drawn_order() -> None:
    jitter = (0.4, 0.4, 0.4, 0.2)
    pixels = torch.randint(0, 256, (6, 3, 8, 8), generator=generator("p"), dtype=torch.uint8)
    draws = augmentation(color_jitter=jitter).draw(6, (8, 8), generator(3))[5:]
    # The permutations of (0, 1, 2, 3) in lexicographic order.
    orders = {0: (0, 1, 2, 3), 23: (3, 2, 1, 0), 6: (1, 0, 2, 3)}
    draws[4] = torch.tensor([0, 23, 6, 0, 23, 6])
    factors = color_factors(jitter, draws)
    for index, own in enumerate(jitter_colors(pixels, jitter, draws)):
        image = pixels[index].float() / 255
        for kind in orders[int(draws[4, index])]:
            image = CHANGES[kind](image, float(factors[kind, index]))
        assert int((own.int() - (image * 255).round().int()).abs().max()) <= 1


def test_factors_cover_their_ranges() -> None:
    jitter = (0.4, 1.5, 0.2, 0.1)
    draws = augmentation(color_jitter=jitter).draw(4000, (8, 8), generator(0))[5:]
    factors = color_factors(jitter, draws)
    ranges = [(0.6, 1.4), (0.0, 2.5), (0.8, 1.2), (-0.1, 0.1)]
    for row, (low, high) in zip(factors, ranges, strict=True):
        assert low <= float(row.min()) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < float(row.max()) <= high
        assert float(row.mean()) == pytest.approx((low + high) / 2, abs=0.02 * (high - low))


def test_augmentation_changes_colors_before_it_normalizes() -> None:
    options = augmentation(color_jitter=(0.4, 0.4, 0.4, 0.2), crop="none", flip=False)
    pixels = torch.randint(0, 256, (4, 3, 8, 8), generator=generator("p"), dtype=torch.uint8)
    draws = options.draw(4, (8, 8), generator(1))
    assert draws[:5].equal(augmentation().draw(4, (8, 8), generator(1)))
    normalize = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), torch.device("cpu"))
    jittered = jitter_colors(pixels, options.color_jitter, draws[5:])
    assert options.apply(pixels, draws, normalize).equal(normalize(jittered))
    assert not jittered.equal(pixels)


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


JITTER = {"color_jitter": (0.4, 0.4, 0.4, 0.2)}


@pytest.mark.parametrize(
    ("kind", "options", "channels", "message"),
    [
        (Spectrogram, {"hop": 0.01}, 1, "are 400 and 0 samples at rate=16000"),
        (Spectrogram, {"seconds": 0.05}, 1, "64 bands and 6 frames is too small"),
        (SpecAugment, {"frequency_width": 13}, 1, "frequency_width=13 is more than the 12 bands"),
        (
            SpecAugment,
            {"frequency_width": 2, "time_width": 10},
            1,
            "time_width=10 is more than the 9",
        ),
        (SpecAugment, {"frequency_width": 2, "shift": 10}, 1, "shift=10 is more than the 9 frames"),
        (augmentation, {"color_jitter": (0.4, 0.4)}, 3, "must be 4 numbers"),
        (augmentation, {"color_jitter": (0.4, 0.4, 0.4, 0.6)}, 3, "the hue is 0.6; must be <= 0.5"),
        (augmentation, JITTER, 1, "color_jitter needs images of 3 channels"),
        (augmentation, JITTER, 3, "color_jitter needs images of type uint8, not num"),
    ],
)
def test_invalid_options_are_refused(
    kind: Any, options: dict[str, Any], channels: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        kind(**options).check((channels, 12, 9), in_memory=True, full_scale=1)
    assert "\n" not in str(caught.value)


BANDS, FRAMES = 12, 9
LEVEL, SPREAD = -40.0, 15.0


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
                result[n, 0, band, frame] = 0.0 if masked else (value - LEVEL) / SPREAD
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
    normalization = Normalization((LEVEL,), (SPREAD,), torch.device("cpu"), full_scale=1)
    found = options.apply(pixels, draws, normalization)
    expected = augment_point_by_point(pixels, draws, options)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
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
