"""The image sizes at which ``darts.find`` trains networks on files of images."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from darts.data.decode import SUFFIXES, image_shape
from darts.data.folders import list_files
from darts.finding.families import Family
from darts.recipes.rules import Values

SIZES = (32, 64, 128)
"""Sides in pixels. A network needs about four times as long on images of the next size."""

SAMPLED_FILES = 50

MANY_PIXELS = 2_000_000_000
"""Total number of pixels that takes about a minute to decode; each image size decodes all files."""

SIZE = "dataset.size"

LARGER = ("convnet", "small_resnet", "resnet")
"""Families that also train on images larger than the smallest size."""


@dataclass(frozen=True)
class ImageFiles:
    """Number of image files, and the median of their shorter sides in pixels."""

    count: int
    side: int

    @classmethod
    def read(cls, root: Path) -> ImageFiles | None:
        """Measure the files below a folder; None if there are none that can be read."""
        paths = list_files(root, SUFFIXES)
        step = max(len(paths) // SAMPLED_FILES, 1)
        shapes = [shape for path in paths[::step] if (shape := image_shape(path)) is not None]
        if not shapes:
            return None
        return cls(len(paths), round(statistics.median(min(shape) for shape in shapes)))


def image_sizes(files: ImageFiles) -> tuple[int, ...]:
    """Return the sides of images to train on, the smallest first.

    Small images keep their size. Larger ones are resized to several sizes, because details may or
    may not matter; networks on small images can train for longer. If decoding takes long, there
    is one size.
    """
    side = max(files.side, 8)
    if side <= 1.25 * SIZES[0]:
        return (side,)
    if files.count * side**2 > MANY_PIXELS:
        return (min(side, SIZES[1]),)
    largest = min(side, SIZES[-1])
    return (*(size for size in SIZES if size < 0.9 * largest), largest)


def with_sizes(families: Iterable[Family], sizes: tuple[int, ...]) -> tuple[Family, ...]:
    """Return all families at the smallest size, and those in ``LARGER`` at the other sizes, too.

    A single family gets all sizes.
    """
    smallest, *others = sizes
    families = tuple(families)
    larger = [f for f in families if f.name in LARGER] if len(families) > 1 else families
    return (
        *(_resized(family, smallest, family.name) for family in families),
        *(_resized(f, size, f"{f.name}_{size}px") for size in others for f in larger),
    )


def larger_families(families: Iterable[Family], name: str) -> list[Family]:
    """Return the families with the same networks for larger images, the largest first."""
    by_name = {family.name: family for family in families}

    def networks(family: Family) -> Values:
        return {key: value for key, value in family.sizes.items() if key != SIZE}

    def size(family: Family) -> int:
        value = family.sizes.get(SIZE)
        return value if isinstance(value, int) else 0

    own = by_name[name]
    others = (f for f in by_name.values() if f.space == own.space and networks(f) == networks(own))
    return sorted((f for f in others if size(f) > size(own)), key=size, reverse=True)


def _resized(family: Family, size: int, name: str) -> Family:
    return replace(family, name=name, sizes={**family.sizes, SIZE: size})
