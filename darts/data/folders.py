"""Images in class folders: your own, and ImageNet.

The splits are ``root/train/<class>/*``, an optional ``root/val`` (or ``valid``, ``validation``) and
an optional ``root/test``. Without a ``train`` folder the class folders are in the root, and a
stratified 20 % is the test split, the same for all seeds. A validation folder without a test folder
is the test split; for ImageNet this is customary, because its test labels are not public.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import torch
from torch import Tensor

from darts.data.decode import SUFFIXES, image_shape
from darts.data.images import DiskImages
from darts.data.randomness import seed_for
from darts.data.source import NoOptions, Options, Request, Source, memory_source
from darts.data.split import stratified_split

SAMPLED_FILES = 50  # of which ``median_side`` reads the shape
VALIDATION_FOLDERS = ("val", "valid", "validation")
_MEMORY_LIMIT = 512 * 2**20  # bytes of pixels that storage=auto keeps in memory
_IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load_imagefolder(request: Request[NoOptions]) -> Source:
    """Load color images of ``size`` by ``size`` pixels (32 by default).

    Data sets of up to 512 MiB of pixels are kept in memory and normalized by the statistics of the
    training split. Larger ones are decoded on request and normalized by those of ImageNet.
    """
    return _load(request, size=request.size or 32, margin=1.0, auto_storage="memory")


def load_imagenet(request: Request[NoOptions]) -> Source:
    """Load ILSVRC2012 from class folders in ``train`` and ``val``, by default as 224 by 224 pixels.

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
    classes, files = find_class_files(request, SUFFIXES, "image")
    images = {
        split: DiskImages(paths, labels, size=size, margin=margin)
        for split, (paths, labels) in files.items()
    }
    if not (request.folder() / "train").is_dir():
        train = images["train"]
        kept, held_out = stratified_split(
            train.labels, (0.8, 0.2), seed=seed_for("folders", "test")
        )
        images = {"train": train.select(kept)}
        if len(held_out):
            images["test"] = train.select(held_out)
    elif "test" not in images and "valid" in images:
        images["test"] = images.pop("valid")
    storage = request.storage
    if storage == "auto":
        fits = sum(map(len, images.values())) * 3 * size * size <= _MEMORY_LIMIT
        storage = auto_storage if fits else "disk"
    if storage == "disk":
        splits = images["train"], images.get("test"), images.get("valid")
        return Source(request.name, classes, *splits, *_IMAGENET_STATISTICS)
    in_memory = {split: files.to_memory() for split, files in images.items()}
    statistics = _IMAGENET_STATISTICS if request.name == "imagenet" else None
    return memory_source(
        request.name, classes, **in_memory, size=None, statistics=statistics, scale=None
    )


def find_class_files(
    request: Request[Options], suffixes: tuple[str, ...], noun: str
) -> tuple[tuple[str, ...], dict[str, tuple[list[str], Tensor]]]:
    """List the files below the class folders of each split, at any depth, sorted.

    Args:
        request: Request whose root contains folders of splits, or the class folders of the training
            split.
        suffixes: Endings of file names, in lower case.
        noun: What a file is, for error messages.

    Returns:
        The names of the classes, and for each split N paths and labels ``(N,)`` int64. The splits
        are "train" and, if their folders exist, "valid" and "test".
    """
    root = request.folder()
    folders = {"train": root / "train"}
    for split, names in (("valid", VALIDATION_FOLDERS), ("test", ("test",))):
        existing = [root / name for name in names if (root / name).is_dir()]
        if existing:
            folders[split] = existing[0]
    if not folders["train"].is_dir():
        folders = {"train": root}
    classes = _class_names(folders["train"])
    if len(classes) < 2 or set(classes) <= {*VALIDATION_FOLDERS, "test"}:
        found = f"only the folder {classes[0]}" if len(classes) == 1 else ", ".join(classes)
        if not classes:
            reason = "is a file" if folders["train"].exists() else "does not exist"
            found = "no folders" if folders["train"].is_dir() else f"nothing, as it {reason}"
        raise ValueError(
            f"{request.name}: {folders['train']} needs a folder of {noun}s for each of two or more "
            f"classes, but has {found}; create them, or set dataset.root to their folder"
        )
    files: dict[str, tuple[list[str], Tensor]] = {}
    for split, folder in folders.items():
        unknown = sorted(set(_class_names(folder)) - set(classes))
        if unknown:
            raise ValueError(
                f"{request.name}: {folder / unknown[0]} is not a class of the training split; "
                "remove it, or add the class there"
            )
        paths = [list_files(folder / name, suffixes) for name in classes]
        if split == "train" and not all(paths):
            empty = folder / classes[paths.index([])]
            formats = " ".join(suffix[1:] for suffix in suffixes)
            raise ValueError(f"{request.name}: {empty} contains no {noun} ({formats})")
        if not any(paths):
            raise ValueError(f"{request.name}: {folder} contains no {noun} in a class folder")
        labels = [label for label, group in enumerate(paths) for _ in group]
        files[split] = [path for group in paths for path in group], torch.tensor(labels)
    return classes, files


def _class_names(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the folders in a folder, without hidden ones."""
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Return the sorted paths of the files below a folder that end with one of ``suffixes``.

    Upper case in file names is ignored; hidden files are left out.
    """
    return sorted(
        os.path.join(parent, file)
        for parent, _, files in os.walk(folder)
        for file in files
        if file.lower().endswith(suffixes) and not file.startswith(".")
    )


def median_side(root: Path) -> int | None:
    """Return the median of the shorter sides of images below a folder, in pixels.

    The images are a sample. None if none of them can be read.
    """
    paths = list_files(root, SUFFIXES)
    step = max(len(paths) // SAMPLED_FILES, 1)
    shapes = [shape for path in paths[::step] if (shape := image_shape(path)) is not None]
    return round(statistics.median(min(shape) for shape in shapes)) if shapes else None
