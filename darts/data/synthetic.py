"""Synthetic images that a small network can learn, for tests and first steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from darts.data.images import MemoryImages
from darts.data.randomness import generator
from darts.data.source import Request, Source, memory_source

__all__ = ["SyntheticOptions", "load_synthetic"]


@dataclass(frozen=True)
class SyntheticOptions:
    """Options of the synthetic images.

    Attributes:
        samples, test_samples: images of the training and the test split.
        classes: number of classes.
        channels: channels of an image.
        noise: standard deviation of a pixel, in levels of 0 to 255.

    Raises:
        ValueError: if a value is not a number in its range.
    """

    samples: int
    classes: int
    channels: int
    test_samples: int = 128
    noise: float = 32

    def __post_init__(self) -> None:
        for name in ("samples", "classes", "channels", "test_samples"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r}: must be an integer >= 1")
        noise = self.noise
        if not isinstance(noise, (int, float)) or isinstance(noise, bool) or noise < 0:
            raise ValueError(f"noise={noise!r}: must be a number >= 0")


def load_synthetic(request: Request[SyntheticOptions]) -> Source:
    """Generate one smooth random pattern per class, with noise, in balanced classes.

    The default size is 8 pixels. All images depend on the seed of the request alone.
    """
    options, size, seed = request.options, request.size or 8, request.seed
    classes, channels = options.classes, options.channels
    coarse = torch.rand(classes, channels, 4, 4, generator=generator(seed, "synthetic", "patterns"))
    patterns = F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    patterns = 32 + 192 * patterns  # (classes, C, H, W), levels

    def split(name: str, count: int) -> MemoryImages:
        private = generator(seed, "synthetic", name)
        labels = torch.arange(count)[torch.randperm(count, generator=private)] % classes
        noise = torch.randn(count, channels, size, size, generator=private) * options.noise
        pixels = (patterns[labels] + noise).round().clamp(0, 255).to(torch.uint8)
        return MemoryImages(pixels, labels)

    return memory_source(
        request.name,
        tuple(f"pattern {label}" for label in range(classes)),
        split("train", options.samples),
        split("test", options.test_samples),
        size=None,
    )
