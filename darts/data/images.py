"""Storage of labeled images: one tensor in memory, or files on disk.

Spectrograms, rows and arrays of numbers are stored as images too, with their numbers as pixels: a
spectrogram has shape ``(1, bands, frames)``, a row of F numbers ``(F, 1, 1)``, a sequence of L
values ``(C, 1, L)``. They are float32 and always in memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.data.decode import ATTEMPTS, decode, image_shape
from darts.data.randomness import generator
from darts.reading import FileError

# Smallest side of images in pixels. One side of a sequence is 1.
MIN_SIDE = 5

# Pixels of an image from which on parallel threads decode faster than one.
PARALLEL_PIXELS = 2**14

# Damaged files that an error names after the first one.
NAMED = 20


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Return images ``(N, C, H, W)`` uint8 or float32 in another size, bilinear, antialiased."""
    smooth = F.interpolate(
        images.float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return smooth if images.is_floating_point() else smooth.round_().clamp_(0, 255).to(torch.uint8)


class MemoryImages:
    """Samples of one shape in one tensor, copied to each device at most once.

    Attributes:
        pixels: Samples ``(N, C, H, W)``: images as uint8; others as float32.
        labels: Class of each sample, ``(N,)`` int64, or its K labels or numbers, ``(N, K)``
            float32, on the CPU; see ``darts.data.targets``.
        shape: Channels, height and width.
        full_scale: Pixel value that stands for 1.0: 255 for uint8, 1 for float32.
    """

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        fits = pixels.ndim == 4 and pixels.dtype in (torch.uint8, torch.float32)
        if not fits or len(labels) != len(pixels):
            raise ValueError(
                "pixels must be uint8 or float32 of shape (N, C, H, W) with N labels, not "
                f"{pixels.dtype} of shape {tuple(pixels.shape)} with {len(labels)}"
            )
        self.pixels = pixels.contiguous()
        self.full_scale = 255 if pixels.dtype == torch.uint8 else 1
        self.labels = labels.cpu() if labels.ndim == 2 else labels.to("cpu", torch.int64)
        self.shape: tuple[int, int, int] = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        self._copies: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.pixels)

    def on(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Return pixels and labels on a device, as one copy that all callers share."""
        resolved = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        if resolved not in self._copies:
            self._copies[resolved] = self.pixels.to(resolved), self.labels.to(resolved)
        return self._copies[resolved]

    def select(self, indices: Tensor) -> MemoryImages:
        """Return the images at ``indices``, in this order."""
        return MemoryImages(self.pixels[indices], self.labels[indices])

    def resized(self, size: int) -> MemoryImages:
        """Return images resized to ``size`` by ``size`` pixels, see ``resize``."""
        if self.shape[1:] == (size, size):
            return self
        chunks = torch.split(self.pixels, 4096)
        return MemoryImages(torch.cat([resize(chunk, size, size) for chunk in chunks]), self.labels)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation by channel, in units of ``full_scale``.

        Those of uint8 pixels are exact, because they are computed from histograms.
        """
        if self.full_scale == 1:
            return self._statistics_of_numbers()
        level = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in range(self.shape[0]):
            plane = self.pixels[:, channel].reshape(-1)
            counts = [torch.bincount(chunk, minlength=256) for chunk in torch.split(plane, 1 << 24)]
            share = torch.stack(counts).sum(0).to(torch.float64) / plane.numel()
            mean = (share * level).sum()
            means.append(mean.item())
            # A constant channel has deviation 0; 1/255 keeps its normalization finite.
            deviation = (share * (level - mean) ** 2).sum().sqrt().item()
            deviations.append(max(deviation, 1 / 255))
        return tuple(means), tuple(deviations)

    def _statistics_of_numbers(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        count = self.pixels[:, 0].numel()
        chunks = torch.split(self.pixels, max(2**22 // self.pixels[0].numel(), 1))
        mean = torch.stack([chunk.double().sum((0, 2, 3)) for chunk in chunks]).sum(0) / count
        center = mean.view(-1, 1, 1)
        squares = [(chunk.double() - center).square().sum((0, 2, 3)) for chunk in chunks]
        deviation = (torch.stack(squares).sum(0) / count).sqrt()
        # A channel is constant if rounding to float32 explains its deviation. It must not be
        # divided by about 0, so its deviation counts as 1.
        limits = torch.finfo(torch.float32)
        constant = deviation <= 8 * limits.eps * mean.abs() + limits.tiny
        return tuple(mean.tolist()), tuple(deviation.masked_fill(constant, 1.0).tolist())


class DiskImages:
    """Image files, decoded on request to ``size`` by ``size`` pixels; see ``MemoryImages``.

    ``margin`` is the shorter side before the center crop, divided by ``size``; 256 / 224 is
    customary for ImageNet.
    """

    full_scale = 255

    def __init__(
        self, paths: Sequence[str], labels: Tensor, *, size: int, margin: float = 1.0
    ) -> None:
        self.labels = labels
        self.shape: tuple[int, int, int] = (3, size, size)
        self.margin = margin
        # One array, because reference counting would copy a list of strings into each worker.
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._paths)

    def select(self, indices: Tensor) -> DiskImages:
        """Return the images at ``indices``, in this order, without decoding them."""
        selected = copy(self)
        selected.labels, selected._paths = self.labels[indices], self._paths[indices.numpy()]
        return selected

    def read(
        self, indices: Sequence[int], crop_seed: int | None = None, share: slice = slice(None)
    ) -> Tensor:
        """Decode the images of a slice of a batch in this process, ``(B, 3, size, size)`` uint8.

        ``crop_seed`` is the seed of random resized crops, which do not depend on the slice; None
        stands for center crops.
        """
        uniform = None
        if crop_seed is not None:
            shape = (len(indices), ATTEMPTS, 4)
            rng = generator(crop_seed, "box")
            uniform = torch.rand(shape, generator=rng, dtype=torch.float64)[share].tolist()
        indices = indices[share]
        batch = torch.empty(len(indices), *self.shape, dtype=torch.uint8)
        for row, index in enumerate(indices):
            attempts = None if uniform is None else uniform[row]
            batch[row] = decode(
                os.fsdecode(self._paths[index]), self.shape[1], self.margin, attempts
            )
        return batch

    def to_memory(self) -> MemoryImages:
        """Decode all files; large ones in parallel threads.

        Raises:
            FileError: If images cannot be read; it names them.
        """
        shape = image_shape(os.fsdecode(self._paths[0]))
        # Pillow releases the global interpreter lock while it decodes. For small images, threads
        # take longer than one thread, because they mostly wait for the lock. Few threads, because
        # each keeps the memory of its largest image.
        is_small = shape is not None and shape[0] * shape[1] < PARALLEL_PIXELS
        threads = 1 if is_small else min(4, os.cpu_count() or 1)
        chunks = [range(i, min(i + 256, len(self))) for i in range(0, len(self), 256)]
        problems: dict[str, FileError] = {}

        def read(chunk: Sequence[int]) -> Tensor:
            try:
                return self.read(chunk)
            except FileError as error:
                if len(chunk) > 1:
                    return torch.cat([read([index]) for index in chunk])
                problems[os.fsdecode(self._paths[chunk[0]])] = error
                return torch.empty(0, *self.shape, dtype=torch.uint8)

        with ThreadPoolExecutor(max_workers=threads) as pool:
            pixels = torch.cat(list(pool.map(read, chunks)))
        if problems:
            (_, first), *others = sorted(problems.items())
            named = ", ".join(path for path, _ in others[:NAMED])
            more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
            raise FileError(f"{first}; cannot read {named}{more} either" if others else f"{first}")
        return MemoryImages(pixels, self.labels)


# N labeled images of one shape.
Images: TypeAlias = MemoryImages | DiskImages
