"""Images in class folders: your own, and ImageNet.

The splits are ``root/train/<class>/*``, an optional ``root/val`` (or ``valid``, ``validation``) and
an optional ``root/test``. Without a ``train`` folder the class folders are in the root, and a
stratified 20 % is the test split, the same for all seeds. A validation folder without a test folder
is the test split; for ImageNet this is customary, because its test labels are not public.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from darts.data.images import DiskImages
from darts.data.randomness import mix
from darts.data.source import NoOptions, Request, Source, memory_source
from darts.data.split import stratified_split

__all__ = [
    "SUFFIXES",
    "VALIDATION_FOLDERS",
    "check_classes",
    "class_names",
    "list_class_files",
    "load_imagefolder",
    "load_imagenet",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".gif")
VALIDATION_FOLDERS = ("val", "valid", "validation")
_MEMORY_LIMIT = 512 * 2**20  # bytes of pixels that storage=auto keeps in memory
_IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load_imagefolder(request: Request[NoOptions]) -> Source:
    """Load color images of ``size`` pixels a side (32 by default).

    Images of up to 512 MB are kept in memory and normalized by the statistics of the training
    split. Larger data sets are decoded on request and normalized by the statistics of ImageNet.
    """
    return _load(request, size=request.size or 32, margin=1.0, auto_storage="memory")


def load_imagenet(request: Request[NoOptions]) -> Source:
    """Load ILSVRC2012 from class folders in ``train`` and ``val``, 224 pixels a side by default.

    For evaluation the shorter side is resized to 8/7 of the size (256 for 224) before the center
    crop.

    References:
        Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", arXiv:1409.0575.
    """
    root = request.folder()
    missing = [name for name in ("train", "val") if not (root / name).is_dir()]
    if missing:
        raise ValueError(
            f"imagenet: {root} has no folder {' and no folder '.join(missing)}: put ILSVRC2012's "
            "class folders into train and val, or set dataset.root to their folder"
        )
    return _load(request, size=request.size or 224, margin=256 / 224, auto_storage="disk")


def _load(request: Request[NoOptions], *, size: int, margin: float, auto_storage: str) -> Source:
    root = request.folder()
    has_splits = (root / "train").is_dir()
    train_folder = root / "train" if has_splits else root
    classes = class_names(train_folder)
    check_classes(request.name, train_folder, classes, "images")

    def read(folder: Path) -> DiskImages:
        is_train = folder == train_folder
        paths, labels = list_class_files(
            request.name, folder, classes, SUFFIXES, require_all=is_train, noun="image"
        )
        return DiskImages(paths, labels, size=size, margin=margin)

    train = read(train_folder)
    valid: DiskImages | None = None
    test: DiskImages | None = None
    if has_splits:
        folders = [root / name for name in VALIDATION_FOLDERS if (root / name).is_dir()]
        valid = read(folders[0]) if folders else None
        if (root / "test").is_dir():
            test = read(root / "test")
        else:
            valid, test = None, valid
    else:
        kept, held_out = stratified_split(train.labels, (0.8, 0.2), seed=mix("folders", "test"))
        train, test = train.select(kept), (train.select(held_out) if len(held_out) else None)
    splits = [split for split in (train, valid, test) if split is not None]
    storage = request.storage
    if storage == "auto":
        fits = sum(len(split) for split in splits) * 3 * size * size <= _MEMORY_LIMIT
        storage = auto_storage if fits else "disk"
    if storage == "disk":
        return Source(request.name, classes, train, test, valid, *_IMAGENET_STATISTICS)
    return memory_source(
        request.name,
        classes,
        train.to_memory(),
        None if test is None else test.to_memory(),
        valid=None if valid is None else valid.to_memory(),
        size=None,
        statistics=_IMAGENET_STATISTICS if request.name == "imagenet" else None,
    )


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the folders in a folder, without hidden ones."""
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def check_classes(name: str, folder: Path, classes: Sequence[str], noun: str) -> None:
    """Check that there are two or more class folders, and not only folders of splits.

    Args:
        name: name of the data set, for the error.
        folder: training folder.
        classes: names of its folders.
        noun: what the files are, in the plural, for the error.

    Raises:
        ValueError: if there are not.
    """
    if len(classes) < 2 or set(classes) <= {*VALIDATION_FOLDERS, "test"}:
        raise ValueError(
            f"{name}: {folder} needs a folder of {noun} for each of two or more classes: create "
            "them, or set dataset.root to their folder"
        )


def list_class_files(
    name: str,
    folder: Path,
    classes: Sequence[str],
    suffixes: tuple[str, ...],
    *,
    require_all: bool,
    noun: str,
) -> tuple[list[str], Tensor]:
    """List the files below each class folder, at any depth, sorted.

    Args:
        name: name of the data set, for errors.
        folder: folder that contains the class folders.
        classes: names of the classes.
        suffixes: file name endings, in lower case.
        require_all: whether all classes must have a file.
        noun: what a file is, for errors.

    Returns:
        N paths and labels ``(N,)`` int64.

    Raises:
        ValueError: if there are no files, or a folder is not one of the classes.
    """
    unknown = sorted(set(class_names(folder)) - set(classes))
    if unknown:
        raise ValueError(
            f"{name}: {folder / unknown[0]} is not a class of the training split; remove it or add "
            "it there"
        )
    paths: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(classes):
        class_paths = sorted(
            os.path.join(parent, file)
            for parent, _, files in os.walk(folder / class_name)
            for file in files
            if file.lower().endswith(suffixes) and not file.startswith(".")
        )
        if require_all and not class_paths:
            formats = " ".join(suffix[1:] for suffix in suffixes)
            raise ValueError(f"{name}: {folder / class_name} contains no {noun} ({formats})")
        paths += class_paths
        labels += [label] * len(class_paths)
    if not paths:
        raise ValueError(f"{name}: {folder} contains no {noun} in a class folder")
    return paths, torch.tensor(labels)
