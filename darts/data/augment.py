"""Augmentation of batches of images, with independent draws for each image.

Random numbers are drawn on the CPU and pixels change on their own device, so that all devices get
the same batch. Random crop and flip are one gather operation, cutout is one mask.

References:
    Crop after zero padding and horizontal flip: He et al., "Deep Residual Learning for Image
    Recognition", arXiv:1512.03385, section 4.2.
    Cutout: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", arXiv:1708.04552.
    Color jitter: Howard, "Some Improvements on Deep Convolutional Neural Network Based Image
    Classification", arXiv:1312.5402, with the definitions of torchvision.
    Random resized crop: Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842,
    section 6 (8 % to 100 % of the area, aspect ratio from 3/4 to 4/3).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Draws are integers, so that one tensor holds them and the sample indices.
_RESOLUTION = 2**31
_ORDERS = tuple(itertools.permutations(range(4)))


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of images.

    Attributes:
        crop: Random crop: "pad" pads the image with zeros and crops it to its size; "resized"
            resizes a random box of the original file (storage on disk only); "none" does not crop.
            Numbers of other types than uint8 are padded after normalization.
        padding: Number of zeros on each side for "pad". A side of one pixel is not padded, since
            nothing but zeros would be left of it.
        flip: Whether to flip horizontally with probability 1/2.
        cutout: Side in pixels of a square that is set to zero after normalization; 0 for none.
        color_jitter: Brightness, contrast, saturation and hue, see ``color_factors``; () for none.
    """

    crop: str
    padding: int
    flip: bool
    cutout: int
    color_jitter: Sequence[float] = ()

    def __post_init__(self) -> None:
        jitter = self.color_jitter
        if len(jitter) not in (0, 4):
            raise ValueError(
                f"color_jitter={list(jitter)}: must be 4 numbers (brightness, contrast, "
                "saturation, hue), or [] for none"
            )
        if jitter and jitter[3] > 0.5:
            raise ValueError(f"color_jitter: the hue is {jitter[3]}; must be <= 0.5")

    @property
    def crops_files(self) -> bool:
        """Whether crops come from the original files."""
        return self.crop == "resized"

    def check(self, shape: Sequence[int], *, in_memory: bool, full_scale: int) -> None:
        """Raise ValueError if samples (C, H, W) in memory or on disk cannot be augmented."""
        if self.color_jitter and shape[0] != 3:
            raise ValueError(f"color_jitter needs images of 3 channels, not {shape[0]}")
        if self.color_jitter and full_scale == 1:
            raise ValueError("color_jitter needs images of type uint8, not numbers; set it to []")
        if self.crops_files and in_memory:
            raise ValueError("crop='resized' crops the original files; set storage='disk'")

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw crop offsets, flips and cutout centers of B = ``count`` images of ``size`` (H, W).

        Crop, flip and cutout are always drawn, even if they are switched off, so that switching one
        of them does not change the others. Colors are drawn only with color jitter.

        Returns:
            (5, B) int64 on the CPU: row offset and column offset, 0 to 2 * padding; flip, 0 or 1;
            row and column of the center of the cutout square. With color jitter (10, B); the last
            five rows are four uniform integers for ``color_factors`` and the index of the order.
        """
        num_offsets = (2 * padding + 1 for padding in self._paddings(size))
        num_values = torch.tensor([*num_offsets, 2, *size], dtype=torch.float64)
        uniform = torch.rand(5, count, generator=generator, dtype=torch.float64)
        draws = (uniform * num_values[:, None]).long()
        if not self.color_jitter:
            return draws
        uniform = torch.randint(_RESOLUTION, (4, count), generator=generator)
        order = torch.randint(len(_ORDERS), (1, count), generator=generator)
        return torch.cat([draws, uniform, order])

    def apply(self, pixels: Tensor, draws: Tensor, normalize: Normalization) -> Tensor:
        """Crop, flip, change colors, normalize, then cut out; (B, C, H, W) -> the same, float.

        ``draws`` are the result of ``draw``, on the device of ``pixels``.
        """
        rows, columns, flips, center_row, center_column = draws[:5]
        # Zeros around a photo are black, as in the published recipes. Among other numbers, such as
        # temperatures in kelvin, 0 may be far from all values; after normalization it is the mean.
        is_uint8 = pixels.dtype == torch.uint8
        if not is_uint8:
            pixels = normalize(pixels)
        if self.crop == "pad" and self.padding:
            pixels = self._crop_and_flip(pixels, rows, columns, flips if self.flip else None)
        elif self.flip:
            pixels = torch.where(flips.bool().view(-1, 1, 1, 1), pixels.flip(3), pixels)
        if self.color_jitter:
            pixels = jitter_colors(pixels, self.color_jitter, draws[5:])
        images = normalize(pixels) if is_uint8 else pixels
        if self.cutout:
            half = self.cutout // 2
            hit_rows = within(center_row - half, self.cutout, images.shape[2])  # (B, H)
            hit_columns = within(center_column - half, self.cutout, images.shape[3])  # (B, W)
            square = hit_rows[:, None, :, None] & hit_columns[:, None, None, :]  # (B, 1, H, W)
            images = images.masked_fill_(square, 0.0)
        return images

    def _paddings(self, size: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.padding if side > 1 else 0 for side in size)

    def _crop_and_flip(
        self, pixels: Tensor, rows: Tensor, columns: Tensor, flips: Tensor | None
    ) -> Tensor:
        count, channels, height, width = pixels.shape
        above, left = self._paddings((height, width))
        padded = F.pad(pixels, (left, left, above, above))
        x = torch.arange(width, device=pixels.device).expand(count, width)
        if flips is not None:
            x = torch.where(flips.bool()[:, None], width - 1 - x, x)
        y = torch.arange(height, device=pixels.device) + rows[:, None]  # (B, H)
        x = x + columns[:, None]  # (B, W)
        index = y[:, :, None] * padded.shape[3] + x[:, None, :]  # (B, H, W)
        index = index.view(count, 1, -1).expand(count, channels, -1)
        return padded.flatten(2).gather(2, index).view(count, channels, height, width)


def color_factors(jitter: Sequence[float], draws: Tensor) -> Tensor:
    """Return the factors of brightness, contrast and saturation, and the turn of the hue, (4, B).

    The factors are drawn from ``[max(0, 1 - x), 1 + x]`` for the number x in ``jitter``. The hue
    turns by a share of the circle from ``[-x, x]``.
    """
    spread = torch.tensor(jitter)[:, None]
    center = torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None]
    low, high = center - spread, center + spread
    low[:3].clamp_(min=0)
    return low + (high - low) * draws[:4].cpu().float() / _RESOLUTION


def jitter_colors(pixels: Tensor, jitter: Sequence[float], draws: Tensor) -> Tensor:
    """Change the colors of images (B, 3, H, W) uint8, with draws (5, B) of ``Augmentation``."""
    from torchvision.transforms.v2 import functional

    changes = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    images = pixels.float() / 255
    factors = color_factors(jitter, draws).t().tolist()
    # The functions take one factor, so each image is changed on its own.
    for image, own, order in zip(images, factors, draws[4].tolist(), strict=True):
        for kind in _ORDERS[order]:
            image.copy_(changes[kind](image, own[kind]))
    return (images * 255).round().to(torch.uint8)


class Normalization:
    """``(pixel / full_scale - mean) / std`` by channel, as one multiplication and addition."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        full_scale: int = 255,
    ) -> None:
        center = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        spread = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1)
        self.scale = (1 / (full_scale * spread)).to(device, torch.float32)
        self.shift = (-center / spread).to(device, torch.float32)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return normalized pixels (B, C, H, W) float32."""
        # Copy float32 pixels too, because the result is changed in place.
        return pixels.to(torch.float32, copy=True).mul_(self.scale).add_(self.shift)


def within(first: Tensor, width: Tensor | int, length: int) -> Tensor:
    """Return masks (B, length) of the ``width`` positions from ``first`` (B,) on."""
    position = torch.arange(length, device=first.device)
    return (position >= first[:, None]) & (position < (first + width)[:, None])


def resized_box(
    width: int, height: int, uniform: Sequence[Sequence[float]]
) -> tuple[int, int, int, int]:
    """Return the box of a random resized crop.

    Args:
        width, height: Size of the whole image in pixels.
        uniform: Attempts, each with four random numbers in [0, 1) for area, aspect ratio, row and
            column. The first box that fits into the image is used; if none fits, the largest
            centered box with an aspect ratio from 3/4 to 4/3.

    Returns:
        left, upper, right, lower in pixels.
    """
    for area, ratio, row, column in uniform:
        target = width * height * (0.08 + 0.92 * area)
        aspect = math.exp(math.log(3 / 4) + ratio * (math.log(4 / 3) - math.log(3 / 4)))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, upper = int(column * (width - w + 1)), int(row * (height - h + 1))
            return left, upper, left + w, upper + h
    w = max(1, min(width, round(height * 4 / 3)))
    h = max(1, min(height, round(width * 4 / 3)))
    left, upper = (width - w) // 2, (height - h) // 2
    return left, upper, left + w, upper + h
