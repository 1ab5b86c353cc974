"""A data set: images of a disk or a ring, which differ in their centers."""

from __future__ import annotations

import torch

from darts.data.images import MemoryImages
from darts.data.source import Request, Source, SourceSpec, memory_source

CLASSES = ("disk", "ring")
SIDE = 12


def _images(count: int, seed: int) -> MemoryImages:
    """Draw gray images; the radius, the place and the noise vary."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    radius = 3 + 2 * torch.rand(count, 1, 1, generator=generator)
    center = SIDE / 2 + torch.randint(-1, 2, (2, count, 1, 1), generator=generator)
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    distance = ((row - center[0]) ** 2 + (column - center[1]) ** 2).sqrt()
    inside = distance < radius
    hole = (distance < radius / 2) & (labels == 1)[:, None, None]
    pixels = 200.0 * (inside & ~hole) + 30 * torch.rand(count, SIDE, SIDE, generator=generator)
    return MemoryImages(pixels.to(torch.uint8)[:, None], labels)


def _read(request: Request[object]) -> Source:
    train, test = _images(400, seed=0), _images(200, seed=1)
    return memory_source("rings", CLASSES, train, test, size=request.size)


RINGS = SourceSpec("rings", "generated images of disks and rings, 1x12x12", _read)
