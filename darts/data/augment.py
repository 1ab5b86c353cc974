"""Augmentation by the batch, every sample with its own draw; here that of images.

The draws are made on the CPU and the pixels are moved on the device that holds them, so that the
same batch comes out on every device. Random crop and flip are one gather; cutout is one mask.

References:
    Crop after zero padding and horizontal flip: He et al., "Deep Residual Learning for Image
    Recognition", arXiv:1512.03385, section 4.2.
    Cutout: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", arXiv:1708.04552.
    Random resized crop: Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842,
    section 6 (8 % to 100 % of the area, aspect ratio from 3/4 to 4/3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Augmentation", "Augmenter", "Normalization", "augment", "draw", "resized_box"]

CROPS = ("pad", "resized", "none")


class Augmenter(Protocol):
    """What `SampleLoader` asks of an augmentation."""

    @property
    def of_files(self) -> bool:
        """Whether it takes its part of the original file, which is decoded anew each time."""

    def check(self, shape: Sequence[int], *, in_memory: bool) -> None:
        """Raise ValueError unless it fits samples of a shape (C, H, W) that are kept there."""

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """All that is random about `count` samples of (H, W): (draws, B) int64 on the CPU."""

    def apply(self, pixels: Tensor, draws: Tensor, normalize: Normalization) -> Tensor:
        """Samples (B, C, H, W) as they are stored, changed and normalized."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        crop: "pad" crops the image out of its zero-padded self; "resized" takes a random part of
            the file's full picture and resizes it (disk storage only); "none" leaves it alone.
        padding: zero pixels on each side for "pad".
        flip: mirror left and right with probability one half.
        cutout: side in pixels of the square set to zero after normalization; 0 is off.

    Raises:
        ValueError: if `crop` is unknown, or `padding` or `cutout` is negative.
    """

    crop: str = "pad"
    padding: int = 4
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise ValueError(f"crop must be one of {', '.join(CROPS)}, not {self.crop!r}")
        if self.padding < 0 or self.cutout < 0:
            raise ValueError(
                "padding and cutout are pixels, at least 0, not "
                f"padding={self.padding}, cutout={self.cutout}"
            )

    @property
    def of_files(self) -> bool:
        """Whether crops are taken of the original files."""
        return self.crop == "resized"

    def check(self, shape: Sequence[int], *, in_memory: bool) -> None:
        """Make sure that there are files to crop, if that is wanted.

        Raises:
            ValueError: if there are none.
        """
        if self.of_files and in_memory:
            raise ValueError("crop='resized' needs storage='disk': it crops the original files")

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """See `draw`."""
        return draw(count, size, self.padding, generator)

    def apply(self, pixels: Tensor, draws: Tensor, normalize: Normalization) -> Tensor:
        """See `augment`."""
        return augment(pixels, draws, self, normalize)


class Normalization:
    """`(pixel / levels - mean) / std` by channel, folded into one multiplication and addition."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        levels: int = 255,
    ) -> None:
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f"mean {tuple(mean)} and positive std {tuple(std)} must pair up")
        center = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        spread = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1)
        self.scale = (1 / (levels * spread)).to(device, torch.float32)
        self.shift = (-center / spread).to(device, torch.float32)
        self.dtype = dtype

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) to float; computed in float32 whatever the dtype of the result."""
        # A copy even of what is float32: it is changed in place.
        return pixels.to(torch.float32, copy=True).mul_(self.scale).add_(self.shift).to(self.dtype)


def draw(count: int, size: tuple[int, int], padding: int, generator: torch.Generator) -> Tensor:
    """Crop offsets, flips and cutout centers of `count` images.

    All five are drawn whether used or not, so that switching one off leaves the others as they
    were.

    Args:
        count: number of images, B.
        size: height and width of an image.
        padding: of the crop; the offsets lie in 0..2*padding.
        generator: a CPU generator.

    Returns:
        (5, B) int64 on the CPU: row offset, column offset, flip (0 or 1), and the row and the
        column of the center of the cutout square.
    """
    ends = torch.tensor([2 * padding + 1, 2 * padding + 1, 2, *size], dtype=torch.float64)
    uniform = torch.rand(5, count, generator=generator, dtype=torch.float64)
    return (uniform * ends[:, None]).long()


def augment(
    pixels: Tensor, draws: Tensor, augmentation: Augmentation, normalize: Normalization
) -> Tensor:
    """Crop, flip, normalize, then cut out.

    Args:
        pixels: (B, C, H, W) uint8.
        draws: (5, B) from `draw`, on the device of `pixels`.
        augmentation: which of the draws are used.
        normalize: applied between the flip and the cutout.

    Returns:
        (B, C, H, W) float.
    """
    rows, columns, flips, center_row, center_column = draws
    if augmentation.crop == "pad" and augmentation.padding:
        pixels = _crop(pixels, rows, columns, flips if augmentation.flip else None, augmentation)
    elif augmentation.flip:
        pixels = torch.where(flips.bool().view(-1, 1, 1, 1), pixels.flip(3), pixels)
    images = normalize(pixels)
    if augmentation.cutout:
        side = augmentation.cutout
        hit_rows = _within(center_row, side, images.shape[2])  # (B, H)
        hit_columns = _within(center_column, side, images.shape[3])  # (B, W)
        square = hit_rows[:, None, :, None] & hit_columns[:, None, None, :]  # (B, 1, H, W)
        images = images.masked_fill_(square, 0.0)
    return images


def _crop(
    pixels: Tensor, rows: Tensor, columns: Tensor, flips: Tensor | None, options: Augmentation
) -> Tensor:
    count, channels, height, width = pixels.shape
    padded = F.pad(pixels, (options.padding,) * 4)  # (B, C, H + 2p, W + 2p)
    across = torch.arange(width, device=pixels.device).expand(count, width)
    if flips is not None:
        across = torch.where(flips.bool()[:, None], width - 1 - across, across)
    down = torch.arange(height, device=pixels.device) + rows[:, None]  # (B, H)
    across = across + columns[:, None]  # (B, W)
    place = down[:, :, None] * padded.shape[3] + across[:, None, :]  # (B, H, W)
    place = place.view(count, 1, -1).expand(count, channels, -1)
    return padded.flatten(2).gather(2, place).view(count, channels, height, width)


def _within(center: Tensor, side: int, length: int) -> Tensor:
    """Which of `length` positions a segment of `side` around each center covers, (B, length)."""
    first = (center - side // 2)[:, None]
    place = torch.arange(length, device=center.device)
    return (place >= first) & (place < first + side)


def resized_box(
    width: int, height: int, uniform: Sequence[Sequence[float]]
) -> tuple[int, int, int, int]:
    """The part of a picture that a random resized crop takes.

    Args:
        width, height: of the whole picture in pixels.
        uniform: attempts, each four numbers in [0, 1) for area, aspect ratio, row and column. The
            first attempt that fits is used, else the largest centerd box of a permitted ratio.

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
