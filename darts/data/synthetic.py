"""Synthetic images that a small network can learn, for tests and first steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from darts.data.images import MemoryImages
from darts.data.randomness import generator
from darts.data.source import Request, Source, memory_source
from darts.registry import number

_TEST_SAMPLES = 128
_MAX_PIXELS = 2**26  # numbers of all images; their noise takes several times 4 bytes each
_NOISE = 32  # standard deviation of the noise; pixels are 0 to 255


@dataclass
class SyntheticOptions:
    """Options of the synthetic images."""

    samples: int = number(256, low=4)  # images of the training split
    classes: int = number(10, low=2)
    channels: int = number(3, low=1)


def load_synthetic(request: Request[SyntheticOptions]) -> Source:
    """Generate balanced classes of images: one smooth random pattern per class, plus noise.

    By default the images have 8 by 8 pixels. They depend on the options and the seed alone.
    """
    options, size, seed = request.options, request.size or 8, request.seed
    classes, channels = options.classes, options.channels
    images = options.samples + options.classes + _TEST_SAMPLES
    if images * options.channels * size * size > _MAX_PIXELS:
        raise ValueError(
            f"{request.name}: {options.samples} samples with {options.channels} channels of "
            f"{size}x{size} pixels are more than {_MAX_PIXELS:,} numbers"
        )
    coarse = torch.rand(classes, channels, 4, 4, generator=generator(seed, "synthetic", "patterns"))
    patterns = F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    patterns = 32 + 192 * patterns  # (classes, C, H, W), within 0 to 255

    def split(name: str, count: int) -> MemoryImages:
        rng = generator(seed, "synthetic", name)
        labels = torch.arange(count)[torch.randperm(count, generator=rng)] % classes
        noise = torch.randn(count, channels, size, size, generator=rng) * _NOISE
        pixels = (patterns[labels] + noise).round().clamp(0, 255).to(torch.uint8)
        return MemoryImages(pixels, labels)

    names = tuple(f"pattern {label}" for label in range(classes))
    train, test = split("train", options.samples), split("test", _TEST_SAMPLES)
    return memory_source(request.name, names, train, test)
