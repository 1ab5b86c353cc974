"""SpecAugment, compared with its definition point by point, and the distribution of masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darts.data.augment import Normalization
from darts.data.mel import SILENCE
from darts.data.randomness import generator
from darts.data.spec_augment import SpecAugment

BANDS, FRAMES = 12, 9
MEAN, STD = -40.0, 15.0


def spectrograms(count: int = 20) -> Tensor:
    return -80 + 90 * torch.rand(count, 1, BANDS, FRAMES, generator=generator("decibels"))


def augment_point_by_point(pixels: Tensor, draws: Tensor, options: SpecAugment) -> Tensor:
    """Return the augmented spectrograms, computed point by point from the definition."""
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
    pixels = spectrograms()
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frequency_width": 13}, "frequency_width=13 is more than the 12 bands"),
        ({"frequency_width": 2, "time_width": 10}, "time_width=10 is more than the 9 frames"),
        ({"frequency_width": 2, "shift": 10}, "shift=10 is more than the 9 frames"),
    ],
)
def test_invalid_options_are_refused_in_one_line(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        SpecAugment(**options).check((1, BANDS, FRAMES), in_memory=True, full_scale=1)
    assert "\n" not in str(caught.value)
