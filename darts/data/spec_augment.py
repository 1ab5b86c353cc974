"""SpecAugment: stripes of a spectrogram are masked, and it is moved in time.

Which stripes is drawn on the CPU, as for images (`darts.data.augment`), so that the same batch
comes out on every device. Time warping, which the paper finds the least influential, is left out.

References:
    Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition",
    arXiv:1904.08779, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from darts.data.augment import Normalization
from darts.data.mel import SILENCE

__all__ = ["SpecAugment"]


@dataclass(frozen=True)
class SpecAugment:
    """What is done to training spectrograms.

    The width of a mask is drawn from 0 to its largest, its place from all where it fits; masks may
    overlap. A masked stripe has the mean of the data set, which is 0 after normalization.

    Attributes:
        frequency_masks: how many stripes of bands are masked.
        frequency_width: of the widest, in bands.
        time_masks: how many stripes of frames are masked.
        time_width: of the widest, in frames.
        shift: frames by which the whole is moved at most, later or earlier; silence moves in.

    Raises:
        ValueError: if one is negative.
    """

    frequency_masks: int = 2
    frequency_width: int = 8
    time_masks: int = 2
    time_width: int = 8
    shift: int = 0

    of_files: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in (*("frequency_masks", "frequency_width", "time_masks", "time_width"), "shift"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")

    def check(self, shape: Sequence[int], *, in_memory: bool) -> None:
        """Make sure that masks and shift fit into samples of a shape (C, bands, frames).

        Raises:
            ValueError: if one does not.
        """
        for name, side, things in (
            ("frequency_width", shape[1], "bands"),
            ("time_width", shape[2], "frames"),
            ("shift", shape[2], "frames"),
        ):
            if getattr(self, name) > side:
                raise ValueError(
                    f"{name}={getattr(self, name)} is more than the {side} {things} of a "
                    f"spectrogram; take at most {side}"
                )

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """The shift, then width and first stripe of each mask, for `count` spectrograms.

        Args:
            count: number of spectrograms, B.
            size: bands and frames.
            generator: a CPU generator.

        Returns:
            (1 + 2 * masks, B) int64 on the CPU, the masks of frequency before those of time.
        """
        masks = self.frequency_masks + self.time_masks
        uniform = torch.rand(1 + 2 * masks, count, generator=generator, dtype=torch.float64)
        shift = (uniform[:1] * (2 * self.shift + 1)).long() - self.shift  # (1, B)
        bands, frames = size
        kinds = [(bands, self.frequency_width)] * self.frequency_masks
        kinds += [(frames, self.time_width)] * self.time_masks
        side, widest = torch.tensor(kinds, dtype=torch.int64).view(masks, 2, 1).unbind(1)
        width = (uniform[1 : 1 + masks] * (widest + 1)).long()  # (masks, B)
        first = (uniform[1 + masks :] * (side - width + 1)).long()
        return torch.cat([shift, torch.stack([width, first], 1).flatten(0, 1)])

    def apply(self, pixels: Tensor, draws: Tensor, normalize: Normalization) -> Tensor:
        """Shift, normalize, then mask.

        Args:
            pixels: (B, C, bands, frames) float, in decibels.
            draws: from `draw`, on the device of `pixels`.
            normalize: applied between the shift and the masks.

        Returns:
            (B, C, bands, frames) float.
        """
        if self.shift:
            pixels = _shifted(pixels, draws[0])
        images = normalize(pixels)
        for number, (width, first) in enumerate(zip(draws[1::2], draws[2::2], strict=True)):
            if number < self.frequency_masks:
                hidden = _stripe(first, width, images.shape[2])[:, None, :, None]
            else:
                hidden = _stripe(first, width, images.shape[3])[:, None, None, :]
            images = images.masked_fill_(hidden, 0.0)
        return images


def _stripe(first: Tensor, width: Tensor, length: int) -> Tensor:
    """Which of `length` positions each stripe covers, (B, length)."""
    place = torch.arange(length, device=first.device)
    return (place >= first[:, None]) & (place < (first + width)[:, None])


def _shifted(pixels: Tensor, shift: Tensor) -> Tensor:
    frames = pixels.shape[3]
    origin = torch.arange(frames, device=pixels.device) - shift[:, None]  # (B, frames)
    outside = ((origin < 0) | (origin >= frames))[:, None, None, :]
    place = origin.clamp(0, frames - 1)[:, None, None, :].expand_as(pixels)
    return pixels.gather(3, place).masked_fill_(outside, SILENCE)
