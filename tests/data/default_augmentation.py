"""Augmentations with default options, so that a test sets only those that matter to it."""

from __future__ import annotations

from typing import Any

from darts.data import Augmentation


def augmentation(**options: Any) -> Augmentation:
    """Return an augmentation with default options where a test gives none."""
    return Augmentation(**{"crop": "pad", "padding": 4, "flip": True, "cutout": 0, **options})
