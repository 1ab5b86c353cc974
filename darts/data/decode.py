"""Image files to pixels, with Pillow.

Whole pictures are resized by their shorter side and cropped in the center; a random resized crop
takes a box of the original instead. Everything becomes RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from darts.data.augment import resized_box

__all__ = ["ATTEMPTS", "decode"]

ATTEMPTS = 10
"""Boxes that a random resized crop tries before it takes the center."""


def decode(
    path: str,
    size: int,
    margin: float = 1.0,
    uniform: Sequence[Sequence[float]] | None = None,
) -> Tensor:
    """Read one image file.

    Args:
        path: of the file.
        size: side of the result in pixels.
        margin: the shorter side is resized to `size * margin` before the center is cropped.
        uniform: attempts for `resized_box`, which make it a random resized crop.

    Returns:
        (3, size, size) uint8.

    Raises:
        ValueError: in one line that names the file, if it is missing or no readable image.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            # Pillow warns if transparency in a palette is dropped on the way to RGB.
            keep_alpha = file.mode == "P" and "transparency" in file.info
            picture = file.convert("RGBA").convert("RGB") if keep_alpha else file.convert("RGB")
    except Exception as error:  # a damaged file may raise anything: OSError, SyntaxError, zlib...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot read the image {path}: {reason}") from None
    width, height = picture.size
    if uniform is not None:
        box = resized_box(width, height, uniform)
        picture = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    else:
        shorter = max(size, round(size * margin))
        scale = shorter / min(width, height)
        if scale != 1:
            shape = (max(shorter, round(width * scale)), max(shorter, round(height * scale)))
            picture = picture.resize(shape, Image.Resampling.BILINEAR)
        left, upper = (picture.width - size) // 2, (picture.height - size) // 2
        picture = picture.crop((left, upper, left + size, upper + size))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
