"""From an image to the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data.decode import decode, read_rgb
from darts.data.images import MemoryImages

Image: TypeAlias = object
"""A file name, a PIL image, or an array or tensor: uint8 or float from 0 to 1, of shape ``(H, W)``
or ``(C, H, W)``; arrays also ``(H, W, 3)``."""


class Preprocessing:
    """The function from an image to the input of a network, as in training without augmentation.

    Args:
        shape: Channels, height and width of the input.
        mean, std: By channel, of pixels scaled to [0, 1].
        margin: For networks that are trained on image files: shorter side before the center crop,
            divided by the size. None: images are resized without cropping.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        mean: Sequence[float],
        std: Sequence[float],
        margin: float | None = None,
    ) -> None:
        self.shape, self.margin = shape, margin
        self._mean = torch.tensor(mean).view(-1, 1, 1)
        self._std = torch.tensor(std).view(-1, 1, 1)

    def __call__(self, image: Image) -> Tensor:
        """Return the input ``(C, H, W)`` float of one image.

        An image of another size is resized, even if that changes its aspect ratio. A file is
        cropped to its center instead if the network was trained on image files.

        Raises:
            ValueError: If the image has another number of channels, or is not an image.
            OSError: If a file cannot be read.
        """
        channels, height, width = self.shape
        if isinstance(image, str | Path) and self.margin is not None:
            pixels = decode(str(image), height, self.margin)
        else:
            pixels = self._pixels(image)
        if pixels.shape[0] != channels:
            raise ValueError(f"the image has {pixels.shape[0]} channels, not {channels}")
        if pixels.shape[1:] != (height, width):
            pixels = _resized(pixels, height, width)
        normalized: Tensor = (pixels.float() / 255 - self._mean) / self._std
        return normalized

    def batch(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the inputs of several images, ``(B, C, H, W)``."""
        return torch.stack(list(inputs))

    def _pixels(self, image: Image) -> Tensor:
        """Return an image as ``(C, H, W)`` uint8."""
        from PIL import Image as pillow

        if isinstance(image, str | Path):
            return self._pixels(read_rgb(str(image)))
        if isinstance(image, pillow.Image):
            image = np.array(image.convert("L" if self.shape[0] == 1 else "RGB"))
        is_tensor = isinstance(image, Tensor)
        pixels = image.cpu() if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        if pixels.ndim == 2:
            pixels = pixels[None]
        elif pixels.ndim == 3 and not is_tensor and pixels.shape[0] != self.shape[0]:
            pixels = pixels.permute(2, 0, 1)
        if pixels.ndim != 3:
            raise ValueError(f"an image must have shape (H, W) or (C, H, W), not {pixels.shape}")
        if pixels.is_floating_point():
            if not (float(pixels.min()) >= 0 and float(pixels.max()) <= 1):  # NaN fails, too
                raise ValueError("an image of floats must have values from 0 to 1")
            pixels = (pixels * 255).round()
        elif pixels.dtype != torch.uint8:
            raise ValueError(f"an image must be uint8, or float from 0 to 1, not {pixels.dtype}")
        return pixels.to(torch.uint8)


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """Return an image (C, H, W) uint8 resized like those of ``MemoryImages``."""
    if height == width:
        image = MemoryImages(pixels[None], torch.zeros(1, dtype=torch.int64))
        return image.resized(height).pixels[0]
    smooth = F.interpolate(
        pixels[None].float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return smooth[0].round().clamp(0, 255).to(torch.uint8)
