"""Random changes of the colors of images, with independent draws for each image.

References:
    Howard, "Some Improvements on Deep Convolutional Neural Network Based Image Classification",
    arXiv:1312.5402. Definitions and ranges are those of ``torchvision.transforms.ColorJitter``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Draws are integers, so that one tensor holds them and the sample indices.
_RESOLUTION = 2**31
_ORDERS = torch.tensor(list(itertools.permutations(range(4))))  # (24, 4)
_GRAY = (0.2989, 0.587, 0.114)  # shares of red, green and blue in the brightness, ITU-R 601


@dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, in random order.

    Attributes:
        brightness, contrast, saturation: For an attribute x, the factor is drawn from
            ``[max(0, 1 - x), 1 + x]``.
        hue: The hue turns by a share of the circle, which is drawn from ``[-hue, hue]``.

    Raises:
        ValueError: If ``hue`` is above 1/2.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float

    def __post_init__(self) -> None:
        if self.hue > 0.5:
            raise ValueError(f"color_jitter: the hue is {self.hue}; must be <= 0.5")

    @classmethod
    def of(cls, values: Sequence[float]) -> ColorJitter | None:
        """Return the jitter of four numbers; None for no numbers.

        Raises:
            ValueError: If there are neither four numbers nor none.
        """
        if not values:
            return None
        if len(values) != 4:
            raise ValueError(
                f"color_jitter={list(values)}: must be 4 numbers (brightness, contrast, "
                "saturation, hue), or [] for none"
            )
        return cls(*values)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the draws of B = ``count`` images, (5, B) int64.

        The first four rows are uniform integers, from which ``factors`` computes the factors and
        the turn; the last row is the index of the order.
        """
        uniform = torch.randint(_RESOLUTION, (4, count), generator=generator)
        order = torch.randint(len(_ORDERS), (1, count), generator=generator)
        return torch.cat([uniform, order])

    def factors(self, draws: Tensor) -> Tensor:
        """Return the factors of brightness, contrast and saturation, and the turn: (4, B) float."""
        spread = (self.brightness, self.contrast, self.saturation, self.hue)
        low = [*(max(0.0, 1 - value) for value in spread[:3]), -self.hue]
        high = [*(1 + value for value in spread[:3]), self.hue]
        lows, highs = (draws.new_tensor(ends, dtype=torch.float32) for ends in (low, high))
        shares = draws[:4].float() / _RESOLUTION
        return lows[:, None] + (highs - lows)[:, None] * shares

    def apply(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Change the colors of images (B, 3, H, W) uint8 with the draws (5, B)."""
        images = pixels.float() / 255
        factors = self.factors(draws)
        orders = _ORDERS.to(draws.device)[draws[4]]  # (B, 4)
        for position in range(4):
            for kind, change in enumerate(_CHANGES):
                chosen = (orders[:, position] == kind).nonzero()[:, 0]
                amount = factors[kind, chosen].view(-1, 1, 1, 1)
                images[chosen] = change(images[chosen], amount)
        return (images * 255).round().to(torch.uint8)


def change_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply images (B, 3, H, W) in [0, 1] by the factor, ``(B, 1, 1, 1)`` here and below."""
    return (images * factor).clamp(0, 1)


def change_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move pixels away from the mean gray of their image, or toward it for factors below 1."""
    mean = _gray(images).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(images, mean, factor)


def change_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move pixels away from their gray, or toward it for factors below 1."""
    return _blend(images, _gray(images), factor)


def change_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by a share of the circle; value and saturation in HSV stay as they are."""
    red, green, blue = images.unbind(1)
    value, least = images.amax(1), images.amin(1)
    chroma = value - least
    divisor = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    # Sixths of the circle; for gray pixels any hue gives the same color.
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * turn.view(-1, 1, 1)
    channels = []
    for offset in (5, 3, 1):
        position = (offset + sixths) % 6
        channels.append(value - chroma * torch.minimum(position, 4 - position).clamp(0, 1))
    return torch.stack(channels, dim=1)


_CHANGES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    change_brightness,
    change_contrast,
    change_saturation,
    change_hue,
)


def _gray(images: Tensor) -> Tensor:
    """Return the brightness of each pixel, (B, 1, H, W)."""
    shares = images.new_tensor(_GRAY).view(1, 3, 1, 1)
    return (images * shares).sum(dim=1, keepdim=True)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor * images + (1 - factor) * other).clamp(0, 1)
