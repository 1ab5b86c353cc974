"""SpecAugment: random masks on bands and frames of a spectrogram, and a random shift in time.

Random numbers are drawn on the CPU, as for images (``darts.data.augment``), so that all devices get
the same batch. Time warping, the least influential distortion of the paper, is left out.

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

from darts.data.augment import Normalization, within
from darts.data.mel import SILENCE
from darts.registry import number


@dataclass
class SpecAugment:
    """Augmentation of spectrograms.

    The width of a mask is uniform between 0 and the maximum. Its position is uniform among those
    where it fits. Masks may overlap. A masked value is 0 after normalization, the mean of the data
    set.
    """

    frequency_masks: int = number(2, low=0, high=100)
    frequency_width: int = number(8, low=0)  # largest width of a mask in bands
    time_masks: int = number(2, low=0, high=100)
    time_width: int = number(8, low=0)  # largest width of a mask in frames
    shift: int = number(4, low=0)  # largest shift in frames, in either direction, filled by silence

    crops_files: ClassVar[bool] = False

    def check(self, shape: Sequence[int], *, in_memory: bool, full_scale: int) -> None:
        """Raise ValueError unless masks and shift fit samples of shape (C, bands, frames)."""
        _, bands, frames = shape
        for name, value, limit, unit in (
            ("frequency_width", self.frequency_width, bands, "bands"),
            ("time_width", self.time_width, frames, "frames"),
            ("shift", self.shift, frames, "frames"),
        ):
            if value > limit:
                raise ValueError(
                    f"{name}={value} is more than the {limit} {unit} of a spectrogram; set it to "
                    f"at most {limit}"
                )

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw shift and masks of B = ``count`` spectrograms of ``size`` (bands, frames).

        Returns:
            (1 + 2 * masks, B) int64 on the CPU: the shift, then width and first position of each
            mask; frequency masks precede time masks.
        """
        masks = self.frequency_masks + self.time_masks
        uniform = torch.rand(1 + 2 * masks, count, generator=generator, dtype=torch.float64)
        shift = (uniform[:1] * (2 * self.shift + 1)).long() - self.shift  # (1, B)
        bands, frames = size
        limits = [(bands, self.frequency_width)] * self.frequency_masks
        limits += [(frames, self.time_width)] * self.time_masks
        side, max_width = torch.tensor(limits, dtype=torch.int64).view(masks, 2, 1).unbind(1)
        width = (uniform[1 : 1 + masks] * (max_width + 1)).long()  # (masks, B)
        first = (uniform[1 + masks :] * (side - width + 1)).long()
        return torch.cat([shift, torch.stack([width, first], 1).flatten(0, 1)])

    def apply(self, pixels: Tensor, draws: Tensor, normalize: Normalization) -> Tensor:
        """Shift, normalize, then mask spectrograms (B, C, bands, frames) float, in decibels.

        ``draws`` are the result of ``draw``, on the device of ``pixels``.
        """
        if self.shift:
            pixels = _shifted(pixels, draws[0])
        images = normalize(pixels)
        for index, (width, first) in enumerate(zip(draws[1::2], draws[2::2], strict=True)):
            if index < self.frequency_masks:
                masked = within(first, width, images.shape[2])[:, None, :, None]
            else:
                masked = within(first, width, images.shape[3])[:, None, None, :]
            images = images.masked_fill_(masked, 0.0)
        return images


def _shifted(pixels: Tensor, shift: Tensor) -> Tensor:
    """Return (B, C, bands, frames), each sample shifted in time by its ``shift`` (B,) frames."""
    frames = pixels.shape[3]
    origin = torch.arange(frames, device=pixels.device) - shift[:, None]  # (B, frames)
    outside = ((origin < 0) | (origin >= frames))[:, None, None, :]
    index = origin.clamp(0, frames - 1)[:, None, None, :].expand_as(pixels)
    return pixels.gather(3, index).masked_fill_(outside, SILENCE)
