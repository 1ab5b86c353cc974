"""The image sizes at which ``darts.find`` trains networks on files of images."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from darts.data.decode import SUFFIXES, image_shape
from darts.data.folders import list_files
from darts.data.images import MIN_SIDE
from darts.finding.families import Family

SIZES = (32, 64, 128)
"""Sides in pixels. A network needs about four times as long on images of the next size."""

SAMPLED_FILES = 50


def median_side(root: Path) -> int | None:
    """Return the median of the shorter sides of images below a folder, in pixels.

    The images are a sample. None if none of them can be read.
    """
    paths = list_files(root, SUFFIXES)
    step = max(len(paths) // SAMPLED_FILES, 1)
    shapes = [shape for path in paths[::step] if (shape := image_shape(path)) is not None]
    return round(statistics.median(min(shape) for shape in shapes)) if shapes else None


def image_sizes(side: int) -> tuple[int, ...]:
    """Return the sides of images to train on, the smallest first.

    Small images keep their size. Larger ones are resized to several sizes, because details may or
    may not matter; networks on small images can train for longer.
    """
    largest = min(max(side, MIN_SIDE), SIZES[-1])
    return (*(size for size in SIZES if size < largest), largest)


def with_sizes(families: Sequence[Family], sizes: Sequence[int]) -> tuple[Family, ...]:
    """Return all families at the smallest size, and the first one at the other sizes.

    Without sizes, the families stay as they are. Neighbors of a leader have its size.
    """
    entries = [(family, size, family.name) for family in families for size in sizes[:1]]
    entries += [(families[0], size, f"{families[0].name}_{size}px") for size in sizes[1:]]
    resized = (
        replace(family, name=name, values={**family.values, "dataset.size": size})
        for family, size, name in entries
    )
    return tuple(resized if sizes else families)
