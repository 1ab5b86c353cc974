"""Images, sequences and other numbers in arrays: training, validation and test split in a folder.

``train.npz`` and optionally ``valid.npz`` and ``test.npz`` each have the arrays ``images`` and
``labels``. Or each array is a file, which is mapped into memory: the images ``train_x.npy``, the
labels ``train_y.npy`` and so on.

Images have the shape ``(N, C, H, W)`` or ``(N, H, W)``, sequences ``(N, C, 1, L)`` or
``(N, C, L)``. Values of type uint8 are pixels; others become float32, and their mean and deviation
by channel are normalized.

Labels are integers from 0, or the names of the classes. For other tasks, they have the shape
``(N, K)``: 0 or 1 for each of K labels, or K numbers; one number may have the shape ``(N,)``.
``train.npz`` may have an array ``classes`` with the names of the classes by number, or of the
labels or numbers by column. Only the test split may have no labels. ``write_arrays`` writes such
files.

References:
    The layout of single files: Towers et al., "Insights from the Use of Previously Unseen Neural
    Architecture Search Datasets", arXiv:2404.02189.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from darts.data.images import MIN_SIDE, MemoryImages
from darts.data.source import Request, Source, memory_source
from darts.data.split import HoldOutOptions
from darts.data.targets import CLASSES, LABELS, complete_splits
from darts.reading import FileError, read_npy, read_npz
from darts.registry import choice
from darts.writing import open_atomically

SPLITS = ("train", "valid", "test")
SUFFIXES = (".npz", ".npy")
MAX_CHANNELS = 64
_LIMIT = 2**35  # bytes of one file, 32 GiB


@dataclass
class ArrayOptions(HoldOutOptions):
    """Options of arrays."""

    # Of images with three dimensions: gray images (N, H, W), or sequences (N, C, L).
    axes: str = choice("NHW", "NHW", "NCL")


class _Split(NamedTuple):
    """The arrays of a split that exist, and the file of each array, by name."""

    arrays: Mapping[str, np.ndarray]
    files: Mapping[str, Path]

    def array(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            file = self.files[name]
            problem = f"has no array named {name}" if file.is_file() else "is missing"
            raise FileError(f"{file} {problem}")
        return self.arrays[name]


def load_arrays(request: Request[ArrayOptions]) -> Source:
    """Load images from arrays, resized if there is a ``size``.

    Without a test split, the validation split takes its place; without both, it is a stratified
    share of the training split, which depends on the options alone. If the test split has no
    labels, the other splits stay as they are.
    """
    splits = _read_splits(request)
    pixels = {split: _pixels(own, request.options.axes) for split, own in splits.items()}
    _check_shapes(splits, pixels, resizes=request.size is not None)
    unlabeled = None
    if "test" in splits and "labels" not in splits["test"].arrays:
        unlabeled = pixels.pop("test")
    labels = {split: _labels(splits[split], request.targets) for split in pixels}
    train_file = splits["train"].files["labels"]
    names = _names(train_file, splits["train"].arrays.get("classes"), labels["train"])
    if request.targets == LABELS and len(names) < 2:
        raise FileError(
            f"{train_file}: labels must have at least two columns with task=multi_label; for one "
            "label, set task=classification"
        )
    targets: dict[str, Tensor] = {}
    for split, own in labels.items():
        file = splits[split].files["labels"]
        targets[split] = _encode(file, own, names)
        if len(own) != len(pixels[split]):
            raise FileError(f"{file}: there are {len(own)} labels for {len(pixels[split])} images")
    if unlabeled is None:
        for values in (pixels, targets):
            if "test" not in values and "valid" in values:
                values["test"] = values.pop("valid")
    targets, scale = complete_splits(
        pixels,
        targets,
        names,
        kind=request.targets,
        options=request.options if unlabeled is None else None,
        where=f"{request.name}: {train_file}",
    )
    images = {split: MemoryImages(pixels[split], own) for split, own in targets.items()}
    source = memory_source(
        request.name, names, **images, size=request.size, statistics=None, scale=scale
    )
    return replace(source, unlabeled=unlabeled)


def read_images(file: Path, axes: str) -> Tensor:
    """Return the images of an ``.npy`` file, or of the array ``images`` of an ``.npz`` file.

    They are ``(N, C, H, W)``, uint8 or float32; ``axes`` as in ``ArrayOptions``.
    """
    is_single = file.suffix.lower() == ".npy"
    arrays = {"images": read_npy(file, limit=_LIMIT)} if is_single else read_npz(file, limit=_LIMIT)
    return _pixels(_Split(arrays, {"images": file}), axes)


def write_arrays(
    folder: Path, splits: Mapping[str, tuple[Tensor, Tensor]], classes: Sequence[str]
) -> None:
    """Write images and labels, so that ``load_arrays`` reads them from the folder.

    Args:
        folder: Folder of the files; it is created.
        splits: By split ("train", "valid" or "test"), images ``(N, C, H, W)`` uint8 and labels
            ``(N,)`` int64, or labels or numbers ``(N, K)`` float64.
        classes: Names of the classes by label, or of the labels or numbers by column.
    """
    for split, (pixels, labels) in splits.items():
        arrays = {"images": pixels.numpy(), "labels": labels.numpy(), "classes": np.array(classes)}
        with open_atomically(folder / f"{split}.npz") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


def _read_splits(request: Request[ArrayOptions]) -> dict[str, _Split]:
    """Return the splits in the folder, at least the training split."""
    root = request.folder()
    archives = [file for split in SPLITS if (file := root / f"{split}.npz").is_file()]
    names = [f"{split}_{part}.npy" for split in SPLITS for part in "xy"]
    singles = [file for name in names if (file := root / name).is_file()]
    if archives and singles:
        raise FileError(
            f"{root} has {archives[0].name} and {singles[0].name}; remove the files of one layout"
        )
    splits = {
        file.stem: _Split(read_npz(file, limit=_LIMIT), dict.fromkeys(("images", "labels"), file))
        for file in archives
    }
    for split in dict.fromkeys(file.stem[:-2] for file in singles):
        files = {"images": root / f"{split}_x.npy", "labels": root / f"{split}_y.npy"}
        found = {name: file for name, file in files.items() if file in singles}
        arrays = {name: read_npy(file, limit=_LIMIT) for name, file in found.items()}
        splits[split] = _Split(arrays, files)
    if "train" not in splits:
        raise ValueError(
            f"{request.name}: neither train.npz nor train_x.npy in {root}: put the arrays of the "
            "training images there, or set dataset.root to their folder"
        )
    return splits


def _pixels(split: _Split, axes: str) -> Tensor:
    """Return the images, ``(N, C, H, W)``: uint8, or float32 if they have another type."""
    images, file = split.array("images"), split.files["images"]
    if images.dtype.kind not in "biuf" or images.ndim not in (3, 4) or 0 in images.shape:
        raise FileError(
            f"{file}: images must be numbers of shape (N, C, H, W), (N, H, W) or, with "
            f"dataset.axes=NCL, (N, C, L), not {_describe(images)}"
        )
    if images.ndim == 3:
        images = images[:, :, None] if axes == "NCL" else images[:, None]
    _, channels, *sides = images.shape
    if channels > MAX_CHANNELS:
        raise FileError(
            f"{file}: images have {channels} channels, more than {MAX_CHANNELS}; the shape must be "
            f"(N, C, H, W), and is {images.shape}"
        )
    if max(sides) < MIN_SIDE or any(1 < side < MIN_SIDE for side in sides):
        raise FileError(
            f"{file}: images of {sides[0]}x{sides[1]} are too small: the sides must be at least "
            f"{MIN_SIDE}, or one of them 1"
        )
    if images.dtype == np.uint8:
        return torch.from_numpy(images)
    with np.errstate(over="ignore"):  # infinite numbers are found below
        pixels = torch.from_numpy(images.astype(np.float32, copy=False))
    if count := sum(int((~chunk.isfinite()).sum()) for chunk in torch.split(pixels, 1024)):
        raise FileError(f"{file}: images has {count} numbers that are NaN, infinite or too large")
    return pixels


def _check_shapes(
    splits: Mapping[str, _Split], pixels: Mapping[str, Tensor], *, resizes: bool
) -> None:
    """Raise FileError unless all images have one type and shape; resized ones, as many channels."""
    axes, train = slice(1, 2 if resizes else None), pixels["train"]
    for split, own in pixels.items():
        if (own.dtype, own.shape[axes]) != (train.dtype, train.shape[axes]):
            raise FileError(
                f"{splits[split].files['images']}: images have type {own.dtype} and shape "
                f"{tuple(own.shape[1:])}, but in the training split {train.dtype} and "
                f"{tuple(train.shape[1:])}"
            )


def _labels(split: _Split, kind: str) -> np.ndarray:
    """Return classes ``(N,)``, integers or names, or labels or numbers ``(N, K)`` float64."""
    labels, file = split.array("labels"), split.files["labels"]
    if kind == CLASSES:
        if labels.dtype.kind in "bf":
            values = labels.astype(np.float64)
            if ((np.abs(values) < 2**53) & (np.floor(values) == values)).all():  # also no NaN
                labels = values.astype(np.int64)
        if labels.ndim != 1 or labels.dtype.kind not in "iuU":
            raise FileError(
                f"{file}: labels must be integers or names, one per image, not {_describe(labels)}"
            )
        return labels
    values = labels[:, None] if labels.ndim == 1 else labels
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "biuf":
        raise FileError(
            f"{file}: labels must be numbers of shape (N, K) or (N,), not {_describe(labels)}"
        )
    if not np.isfinite(values).all():
        raise FileError(f"{file}: labels has a number that is not finite")
    if kind == LABELS and not np.isin(values, (0, 1)).all():
        raise FileError(f"{file}: labels must be 0 or 1 with task=multi_label")
    return values.astype(np.float64)


def _names(file: Path, listed: np.ndarray | None, labels: np.ndarray) -> tuple[str, ...]:
    """Return the names of the classes, labels or numbers: the listed ones, if there are any."""
    if listed is not None:
        if listed.ndim != 1 or listed.dtype.kind != "U" or not len(listed):
            raise FileError(f"{file}: classes must be a list of names, not {_describe(listed)}")
        if len(np.unique(listed)) < len(listed):
            raise FileError(f"{file}: classes has a name twice")
        return tuple(map(str, listed))
    if labels.dtype.kind == "U":
        return tuple(map(str, np.unique(labels)))
    if labels.ndim == 2:
        return tuple(f"target{number}" for number in range(labels.shape[1]))
    count = int(labels.max()) + 1 if len(labels) else 0
    if count > 2 * len(labels):  # a mistake; the network would have an output for each number
        raise FileError(f"{file}: labels go up to {count - 1}, but there are {len(labels)} images")
    return tuple(str(number) for number in range(count))


def _encode(file: Path, labels: np.ndarray, names: Sequence[str]) -> Tensor:
    """Return classes ``(N,)`` int64, or labels or numbers ``(N, K)`` float64."""
    if labels.ndim == 2 and labels.shape[1] != len(names):
        raise FileError(f"{file}: labels has {labels.shape[1]} columns; must be {len(names)}")
    if labels.ndim == 2:
        return torch.from_numpy(labels)
    if labels.dtype.kind == "U":
        index_of = {name: index for index, name in enumerate(names)}
        unknown = [str(name) for name in np.unique(labels) if str(name) not in index_of]
        if unknown:
            raise FileError(f"{file}: {unknown[0]!r} is not a class of train.npz")
        return torch.tensor([index_of[str(name)] for name in labels])
    if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= len(names):
        found = f"{labels.min()} to {labels.max()}" if len(labels) else "missing"
        raise FileError(f"{file}: labels are {found}; must be 0 to {len(names) - 1}")
    return torch.from_numpy(labels.astype(np.int64))


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"
