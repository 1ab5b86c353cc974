"""Augmentations with default options, so that a test sets only the options it is about."""

from __future__ import annotations

from typing import Any

from darts.data import Augmentation


def augmentation(**options: Any) -> Augmentation:
    """Return an augmentation with these options and default values for the others."""
    return Augmentation(**{"crop": "pad", "padding": 4, "flip": True, "cutout": 0, **options})
