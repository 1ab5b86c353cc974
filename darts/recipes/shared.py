"""Samples that fit layers of the networks of searches and retrainings."""

from __future__ import annotations

import torch
from torch import Tensor

from darts.data import Loader

FITTED_SAMPLES = 512
"""Samples that fit layers such as ``WhitenedPatches``; 512 images of 32x32 have 131,072 patches."""


def first_samples(loader: Loader) -> Tensor:
    """Return the samples of the first batches, at least ``FITTED_SAMPLES`` if there are as many.

    They fit layers with fixed values, see ``darts.spaces.network.FittedLayer``.
    """
    batches: list[Tensor] = []
    for step in range(len(loader)):
        samples = loader.batch(0, step)[0]
        assert isinstance(samples, Tensor)
        batches.append(samples)
        if sum(map(len, batches)) >= FITTED_SAMPLES:
            break
    return torch.cat(batches)
