"""Made-up images that a small network can learn, for tests and for trying things out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from darts.data.images import MemoryImages
from darts.data.randomness import generator
from darts.data.source import Query, Source, memory_source

__all__ = ["OPTIONS", "load_synthetic"]

OPTIONS = {"classes": 10, "samples": 256, "test_samples": 128, "channels": 3, "noise": 32}
"""The options and their defaults; `noise` is the deviation of a pixel in levels of 0 to 255."""


def load_synthetic(query: Query) -> Source:
    """One smooth random pattern a class, plus noise; classes as equal in number as can be.

    The size is 8 unless given. Everything depends on the seed of the query alone.

    Raises:
        ValueError: if an option is not a number in its range.
    """
    options = {**OPTIONS, **query.options}
    for name, value in options.items():
        lowest = 0 if name == "noise" else 1
        kinds = (int, float) if name == "noise" else (int,)
        if not isinstance(value, kinds) or isinstance(value, bool) or value < lowest:
            raise ValueError(f"synthetic: {name} must be a number from {lowest} up, not {value!r}")
    classes, channels, size = options["classes"], options["channels"], query.size or 8
    coarse = torch.rand(
        classes, channels, 4, 4, generator=generator(query.seed, "synthetic", "patterns")
    )
    patterns = F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    patterns = 32 + 192 * patterns  # (classes, C, H, W), levels

    def part(name: str, count: int) -> MemoryImages:
        private = generator(query.seed, "synthetic", name)
        labels = torch.arange(count)[torch.randperm(count, generator=private)] % classes
        noise = torch.randn(count, channels, size, size, generator=private) * options["noise"]
        pixels = (patterns[labels] + noise).round().clamp(0, 255).to(torch.uint8)
        return MemoryImages(pixels, labels)

    return memory_source(
        query.name,
        tuple(f"pattern {label}" for label in range(classes)),
        part("train", options["samples"]),
        part("test", options["test_samples"]),
        size=None,
    )
