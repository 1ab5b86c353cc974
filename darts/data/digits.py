"""The digits data set of scikit-learn: 1,797 gray images of 8 by 8 pixels.

References:
    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (its test split).
"""

from __future__ import annotations

import torch

from darts.data.images import MemoryImages
from darts.data.randomness import mix
from darts.data.source import NoOptions, Request, Source, memory_source
from darts.data.split import stratified_split


def load_digits(request: Request[NoOptions]) -> Source:
    """Load the digits, with levels 0 to 16 scaled to 0 to 255.

    There is no published split. A stratified 25 % is the test split, the same for all seeds.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    levels = torch.from_numpy(bunch.images)  # (1797, 8, 8) float64
    pixels = (levels * (255 / 16)).round().to(torch.uint8)[:, None]
    images = MemoryImages(pixels, torch.from_numpy(bunch.target))
    train, test = stratified_split(images.labels, (0.75, 0.25), seed=mix("digits", "test"))
    names = tuple(str(digit) for digit in range(10))
    return memory_source(
        request.name, names, images.select(train), images.select(test), size=request.size
    )
