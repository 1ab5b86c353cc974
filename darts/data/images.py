"""Where the samples of a data set are: in memory as one tensor, or in files.

Both kinds hold labels on the CPU and say the shape of an image; only `MemoryImages` can be moved to
a device whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data.decode import ATTEMPTS, decode
from darts.data.randomness import generator

__all__ = ["DiskImages", "Images", "MemoryImages"]


class Images(Protocol):
    """A sequence of labeled images of one shape."""

    labels: Tensor  # (N,) int64 on the CPU
    shape: tuple[int, int, int]  # channels, height, width
    levels: int  # what stands for 1.0

    def __len__(self) -> int: ...


class MemoryImages:
    """Images in one tensor, copied to each device at most once.

    Args:
        pixels: (N, C, H, W), uint8 with 255 for 1.0, or float32 for samples that are no images.
        labels: (N,) integers.

    Raises:
        ValueError: if shapes or types do not fit.
    """

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        if pixels.ndim != 4 or pixels.dtype not in (torch.uint8, torch.float32):
            raise ValueError(
                f"pixels must be uint8 or float32 of shape (N, C, H, W), not {pixels.dtype} "
                f"of shape {tuple(pixels.shape)}"
            )
        self.pixels = pixels.contiguous()
        self.levels = 255 if pixels.dtype == torch.uint8 else 1
        self.labels = _checked(labels, len(pixels))
        self.shape: tuple[int, int, int] = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        self._copies: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.pixels)

    def on(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Pixels and labels on `device`; every caller gets the same copy."""
        place = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        if place not in self._copies:
            self._copies[place] = self.pixels.to(place), self.labels.to(place)
        return self._copies[place]

    def select(self, indices: Tensor) -> MemoryImages:
        """The images at `indices`, in that order."""
        return MemoryImages(self.pixels[indices], self.labels[indices])

    def resized(self, size: int) -> MemoryImages:
        """The images, of bytes, at `size` by `size` pixels, bilinear and without aliasing."""
        if self.shape[1:] == (size, size):
            return self
        self._need_bytes()
        parts = []
        for chunk in self.pixels.split(4096):
            smooth = F.interpolate(
                chunk.float(), (size, size), mode="bilinear", antialias=True, align_corners=False
            )
            parts.append(smooth.round_().clamp_(0, 255).to(torch.uint8))
        return MemoryImages(torch.cat(parts), self.labels)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation by channel, in units of [0, 1], from exact histograms.

        Raises:
            ValueError: for pixels that are no bytes.
        """
        self._need_bytes()
        level = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in range(self.shape[0]):
            plane = self.pixels[:, channel].reshape(-1)
            count = sum(torch.bincount(part, minlength=256) for part in plane.split(1 << 24))
            share = torch.as_tensor(count, dtype=torch.float64) / plane.numel()
            mean = (share * level).sum()
            means.append(mean.item())
            # A channel of one value cannot be scaled; 1/255 keeps it finite.
            deviation = (share * (level - mean) ** 2).sum().sqrt().item()
            deviations.append(max(deviation, 1 / 255))
        return tuple(means), tuple(deviations)

    def _need_bytes(self) -> None:
        if self.pixels.dtype != torch.uint8:
            raise ValueError(f"that is for images of bytes, not of {self.pixels.dtype}")


class DiskImages:
    """Image files, decoded when they are asked for.

    Args:
        paths: one file an image.
        labels: (N,) integers.
        size: side of the decoded image in pixels.
        margin: see `decode`; ImageNet is customarily resized to 256 for a crop of 224.
    """

    levels = 255

    def __init__(
        self, paths: Sequence[str], labels: Tensor, *, size: int, margin: float = 1.0
    ) -> None:
        self.labels = _checked(labels, len(paths))
        self.shape: tuple[int, int, int] = (3, size, size)
        self.margin = margin
        # One array: a list of a million strings would be copied page by page into every worker.
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, index: int) -> str:
        """The file of one image."""
        return os.fsdecode(bytes(self._paths[index]))

    def select(self, indices: Tensor) -> DiskImages:
        """The images at `indices`, in that order, still undecoded."""
        chosen = copy(self)
        chosen.labels, chosen._paths = self.labels[indices], self._paths[indices.numpy()]
        return chosen

    def read(
        self,
        indices: Sequence[int],
        crop_seed: int | None = None,
        share: slice = slice(None),
    ) -> Tensor:
        """Decode some images in this process.

        Args:
            indices: which, B of them.
            crop_seed: makes it random resized crops, drawn from this seed alone.
            share: which of the B to decode; the crops are those they have among all.

        Returns:
            (B, 3, size, size) uint8, or as many as fall into the share.

        Raises:
            ValueError: in one line that names the first file that cannot be read.
        """
        boxes = None
        if crop_seed is not None:
            shape = (len(indices), ATTEMPTS, 4)
            private = generator(crop_seed, "box")
            boxes = torch.rand(shape, generator=private, dtype=torch.float64)[share].tolist()
        indices = indices[share]
        batch = torch.empty(len(indices), *self.shape, dtype=torch.uint8)
        for place, index in enumerate(indices):
            attempts = None if boxes is None else boxes[place]
            batch[place] = decode(self.path(index), self.shape[1], self.margin, attempts)
        return batch

    def to_memory(self) -> MemoryImages:
        """Decode every file now; Pillow lets go of the interpreter, so threads help."""
        chunks = [range(i, min(i + 256, len(self))) for i in range(0, len(self), 256)]
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            pixels = torch.cat(list(pool.map(self.read, chunks)))
        return MemoryImages(pixels, self.labels)


def _checked(labels: Tensor, count: int) -> Tensor:
    if labels.shape != (count,) or labels.is_floating_point():
        raise ValueError(f"{count} images need as many integer labels, not {tuple(labels.shape)}")
    return labels.to("cpu", torch.int64)
