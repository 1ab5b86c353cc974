"""Color changes with independent draws for each image."""

from __future__ import annotations

import pytest
import torch
from default_augmentation import augmentation
from torchvision.transforms.v2 import functional

from darts.data.augment import Normalization, color_factors, jitter_colors
from darts.data.randomness import generator

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
    for row, (low, high) in zip(
        factors, [(0.6, 1.4), (0.0, 2.5), (0.8, 1.2), (-0.1, 0.1)], strict=True
    ):
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


@pytest.mark.parametrize(
    ("values", "message"),
    [((0.4, 0.4), "must be 4 numbers"), ((0.4, 0.4, 0.4, 0.6), "the hue is 0.6; must be <= 0.5")],
)
def test_wrong_values_are_refused(values: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augmentation(color_jitter=values)


@pytest.mark.parametrize(
    ("channels", "full_scale", "message"), [(1, 255, "3 channels"), (3, 1, "type uint8, not num")]
)
def test_gray_images_and_numbers_are_refused(channels: int, full_scale: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"color_jitter needs images of {message}"):
        augmentation(color_jitter=(0.4, 0.4, 0.4, 0.2)).check(
            (channels, 8, 8), in_memory=True, full_scale=full_scale
        )
