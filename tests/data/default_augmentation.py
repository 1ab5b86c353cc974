"""Augmentations and loaders with default options, so that a test sets only those it is about."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from darts.data import SampleLoader
from darts.data.augment import Augmentation
from darts.data.loader import LoaderOptions
from darts.data.source import Source


def augmentation(**options: Any) -> Augmentation:
    """Return an augmentation with these options and default values for the others."""
    return Augmentation(**{"crop": "pad", "padding": 4, "flip": True, "cutout": 0, **options})


def sample_loader(source: Source, count: int, **options: Any) -> SampleLoader:
    """Return a loader of the first training samples; by default, of shuffled batches."""
    defaults = {"batch_size": 8, "seed": 3, "name": "weights", "shuffle": True, "drop_last": True}
    values = {"mean": source.mean, "std": source.std, "augmentation": augmentation(cutout=4)}
    keys = {"device": "cpu", **defaults, **values, **options}
    shared = {
        field.name: keys.pop(field.name) for field in fields(LoaderOptions) if field.name in keys
    }
    shared["device"] = torch.device(shared["device"])
    return SampleLoader(source.train, torch.arange(count), LoaderOptions(**shared), **keys)
