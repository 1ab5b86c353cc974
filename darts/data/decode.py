"""Decoding of image files with Pillow.

An image becomes RGB. Then its shorter side is resized and its center is cropped; or, for a random
resized crop, a random box of the original is resized.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from darts.data.augment import resized_box

ATTEMPTS = 10
"""Boxes that a random resized crop tries before it falls back to the center."""


def decode(
    path: str, size: int, margin: float = 1.0, uniform: Sequence[Sequence[float]] | None = None
) -> Tensor:
    """Read one image file.

    Args:
        path: Image file.
        size: Side of the result in pixels.
        margin: The shorter side is resized to ``size * margin`` before the center crop.
        uniform: Random numbers for ``resized_box``, ``(attempts, 4)``; None for a center crop.

    Returns:
        ``(3, size, size)`` uint8.

    Raises:
        ValueError: If the file is missing or cannot be read; the message names it.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            # Convert palettes with transparency in two steps: in one step Pillow warns.
            has_alpha = file.mode == "P" and "transparency" in file.info
            image = file.convert("RGBA").convert("RGB") if has_alpha else file.convert("RGB")
    except Exception as error:  # a damaged file may raise any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot read the image {path}: {reason}") from None
    width, height = image.size
    if uniform is not None:
        box = resized_box(width, height, uniform)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    else:
        shorter = max(size, round(size * margin))
        scale = shorter / min(width, height)
        if scale != 1:
            shape = (max(shorter, round(width * scale)), max(shorter, round(height * scale)))
            image = image.resize(shape, Image.Resampling.BILINEAR)
        left, upper = (image.width - size) // 2, (image.height - size) // 2
        image = image.crop((left, upper, left + size, upper + size))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
