"""The digits set that scikit-learn carries: 1,797 real gray images of 8 by 8 pixels.

References:
    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (the test part of it).
"""

from __future__ import annotations

import torch

from darts.data.images import MemoryImages
from darts.data.randomness import mix
from darts.data.source import Query, Source, memory_source
from darts.data.split import stratified_split

__all__ = ["load_digits"]


def load_digits(query: Query) -> Source:
    """Levels 0 to 16 become 0 to 255. Nobody publishes a split of it, so a stratified 25 % drawn
    from a constant is the test split, whatever the seed of the run.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    levels = torch.from_numpy(bunch.images)  # (1797, 8, 8) float64
    pixels = (levels * (255 / 16)).round().to(torch.uint8)[:, None]
    images = MemoryImages(pixels, torch.from_numpy(bunch.target))
    train, test = stratified_split(images.labels, (0.75, 0.25), seed=mix("digits", "test"))
    names = tuple(str(digit) for digit in range(10))
    return memory_source(
        query.name, names, images.select(train), images.select(test), size=query.size
    )
