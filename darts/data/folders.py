"""Pictures in class folders: anybody's own, and ImageNet.

`root/train/<class>/*` with, beside `train`, an optional `val` (or `valid`, `validation`) and an
optional `test`; or, for want of `train`, the class folders directly under the root, of which a
stratified 20 % drawn from a constant becomes the test split, whatever the seed of the run. A
validation folder without a test folder serves as the test split, which is how ImageNet is used
everywhere, since its test labels are not public.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from darts.data.images import DiskImages
from darts.data.randomness import mix
from darts.data.source import Query, Source, memory_source
from darts.data.split import stratified_split

__all__ = ["SUFFIXES", "class_files", "class_names", "load_imagefolder", "load_imagenet"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".gif")
_VALID = ("val", "valid", "validation")
_MEMORY_LIMIT = 512 * 2**20  # bytes of pixels that storage=auto keeps in memory
_IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load_imagefolder(query: Query) -> Source:
    """Color images of `size` (32 unless given) pixels a side; see the top of this module.

    They are kept in memory if they fit in 512 MB, with mean and deviation of the training images,
    and else decoded as needed, with those of ImageNet.
    """
    return _load(query, size=query.size or 32, margin=1.0, automatic="memory")


def load_imagenet(query: Query) -> Source:
    """ILSVRC2012 as class folders under `train` and `val`, 224 pixels a side unless told otherwise.

    For evaluation the shorter side is resized to 8/7 of the size (256 for 224) before the center
    is cropped.

    References:
        Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", arXiv:1409.0575.
    """
    root = query.folder()
    absent = [name for name in ("train", "val") if not (root / name).is_dir()]
    if absent:
        raise ValueError(
            f"imagenet: {root} has no folder {' and no folder '.join(absent)}: put ILSVRC2012's "
            "class folders under train and val there, or set dataset.root to where they are"
        )
    return _load(query, size=query.size or 224, margin=256 / 224, automatic="disk")


def _load(query: Query, *, size: int, margin: float, automatic: str) -> Source:
    root = query.folder()
    nested = (root / "train").is_dir()
    top = root / "train" if nested else root
    classes = class_names(top)
    if len(classes) < 2 or set(classes) <= {*_VALID, "test"}:
        raise ValueError(
            f"{query.name}: {top} needs a folder of pictures for each of two or more classes: "
            "put them there, or set dataset.root to where they are"
        )

    def read(folder: Path) -> DiskImages:
        unknown = sorted(set(class_names(folder)) - set(classes))
        if unknown:
            raise ValueError(f"{query.name}: {folder / unknown[0]} is no class of {top}")
        paths, labels = class_files(query.name, folder, classes, SUFFIXES, every=folder == top)
        return DiskImages(paths, labels, size=size, margin=margin)

    train = read(top)
    valid: DiskImages | None = None
    test: DiskImages | None = None
    if nested:
        valid = next((read(root / name) for name in _VALID if (root / name).is_dir()), None)
        if (root / "test").is_dir():
            test = read(root / "test")
        else:
            valid, test = None, valid
    else:
        kept, held = stratified_split(train.labels, (0.8, 0.2), seed=mix("folders", "test"))
        train, test = train.select(kept), (train.select(held) if len(held) else None)
    splits = [split for split in (train, valid, test) if split is not None]
    storage = query.storage
    if storage == "auto":
        fits = sum(len(split) for split in splits) * 3 * size * size <= _MEMORY_LIMIT
        storage = automatic if fits else "disk"
    if storage == "disk":
        return Source(query.name, classes, train, test, valid, *_IMAGENET_STATISTICS)
    return memory_source(
        query.name,
        classes,
        train.to_memory(),
        None if test is None else test.to_memory(),
        valid=None if valid is None else valid.to_memory(),
        size=None,
        constants=_IMAGENET_STATISTICS if query.name == "imagenet" else None,
    )


def class_names(folder: Path) -> tuple[str, ...]:
    """The folders in a folder, sorted, hidden ones left out; none if there is no such folder."""
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def class_files(
    name: str,
    folder: Path,
    classes: Sequence[str],
    suffixes: tuple[str, ...],
    *,
    every: bool,
    thing: str = "picture",
) -> tuple[list[str], Tensor]:
    """The files under each class folder, at any depth, sorted, and the number of each one's class.

    Args:
        name: of the data set, for errors.
        folder: that holds the class folders.
        classes: their names.
        suffixes: of the files, in small letters.
        every: insist on a file in every class, not only in one.
        thing: what a file is called in errors.

    Returns:
        N paths and (N,) int64.

    Raises:
        ValueError: if there is none.
    """
    paths: list[str] = []
    labels: list[int] = []
    for label, kind in enumerate(classes):
        found = sorted(
            os.path.join(place, file)
            for place, _, files in os.walk(folder / kind)
            for file in files
            if file.lower().endswith(suffixes) and not file.startswith(".")
        )
        if every and not found:
            kinds = " ".join(suffix[1:] for suffix in suffixes)
            raise ValueError(f"{name}: {folder / kind} holds no {thing} ({kinds})")
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise ValueError(f"{name}: {folder} holds no {thing} in a class folder")
    return paths, torch.tensor(labels)
