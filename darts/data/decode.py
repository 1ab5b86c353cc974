"""Decoding of image files with Pillow.

An image becomes RGB. Then its shorter side is resized and its center is cropped; or, for a random
resized crop, a random box of the original is resized.

Files may be untrusted: only the formats of ``SUFFIXES`` are decoded, because others start
programs (Ghostscript for PostScript), and the number of pixels of an image is limited.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from darts.data.augment import resized_box
from darts.reading import StrPath, damage, open_regular

if TYPE_CHECKING:
    from PIL import Image

# Boxes that a random resized crop tries before it falls back to the center.
ATTEMPTS = 10

# Endings of file names, in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".gif")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "GIF")  # Pillow's names of their formats

# Maximum number of pixels of an image, also after resizing. Pillow warns above this number.
PIXEL_LIMIT = 89_478_485


def decode(
    path: str, size: int, margin: float = 1.0, uniform: Sequence[Sequence[float]] | None = None
) -> Tensor:
    """Read one image file, ``(3, size, size)`` uint8; an error names the file.

    Args:
        path: Image file in one of the formats of ``SUFFIXES``.
        size: Side of the result.
        margin: The shorter side is resized to ``size * margin`` before the center crop.
        uniform: Random numbers for ``resized_box``, ``(attempts, 4)``; None for a center crop.
    """
    with damage(f"cannot read the image {path}"):
        return _to_tensor(read_rgb(path), size, margin, uniform)


def read_rgb(path: str) -> Image.Image:
    """Read one image file at its own size; an error names the file."""
    with damage(f"cannot read the image {path}"), _open_image(path) as file:
        return _to_rgb(file)


def center_crop(image: Image.Image, size: int, margin: float) -> Tensor:
    """Return an image as ``decode`` returns a file, ``(3, size, size)`` uint8."""
    return _to_tensor(_to_rgb(image), size, margin, None)


def image_shape(path: str) -> tuple[int, int] | None:
    """Return width and height of an image file from its header; None if it cannot be read."""
    try:
        with _open_image(path) as file:
            return file.width, file.height
    except Exception:  # a damaged file may raise any error; decoding it explains the problem
        return None


@contextlib.contextmanager
def _open_image(path: StrPath) -> Iterator[Image.Image]:
    """Open an image without decoding its pixels."""
    from PIL import Image, UnidentifiedImageError

    # Pillow warns above PIXEL_LIMIT pixels and raises an error only above twice the limit.
    bomb = ("error", None, Image.DecompressionBombWarning, None, 0)
    if bomb not in warnings.filters:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
    with open_regular(path) as stream:
        try:
            file = Image.open(stream, formats=_FORMATS)
        except UnidentifiedImageError:  # its message does not name the file
            raise ValueError(f"it is none of {', '.join(_FORMATS)}") from None
        with file:
            yield file


def _to_rgb(file: Image.Image) -> Image.Image:
    # Convert palettes with transparency in two steps: in one step Pillow warns.
    has_alpha = file.mode == "P" and "transparency" in file.info
    return file.convert("RGBA").convert("RGB") if has_alpha else file.convert("RGB")


def _to_tensor(
    image: Image.Image, size: int, margin: float, uniform: Sequence[Sequence[float]] | None
) -> Tensor:
    from PIL import Image

    width, height = image.size
    if uniform is not None:
        box = resized_box(width, height, uniform)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    else:
        shorter = max(size, round(size * margin))
        scale = shorter / min(width, height)
        if scale != 1:
            shape = (max(shorter, round(width * scale)), max(shorter, round(height * scale)))
            if shape[0] * shape[1] > PIXEL_LIMIT:
                raise ValueError(f"{width} x {height} pixels, which is too narrow")
            image = image.resize(shape, Image.Resampling.BILINEAR)
        left, upper = (image.width - size) // 2, (image.height - size) // 2
        image = image.crop((left, upper, left + size, upper + size))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
