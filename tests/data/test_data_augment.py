"""Augmentation of images, and named random generators."""

from __future__ import annotations

import math

import pytest
import torch
from default_augmentation import augmentation
from torch import Tensor

from darts.data.augment import Augmentation, Normalization, resized_box
from darts.data.randomness import generator, seed_for

CPU = torch.device("cpu")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def images(count: int = 12, height: int = 9, width: int = 7) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, height, width), generator=generator("pixels"), dtype=torch.uint8
    )


def augment_pixel_by_pixel(pixels: Tensor, draws: Tensor, options: Augmentation) -> Tensor:
    """Return the augmented images, computed pixel by pixel from the definition."""
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
    torch.testing.assert_close(
        fast, augment_pixel_by_pixel(pixels, draws, options), atol=2e-6, rtol=1e-5
    )


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
