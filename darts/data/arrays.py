"""Images in arrays: ``train.npz`` and optionally ``test.npz`` and ``valid.npz`` in one folder.

Each file has an array ``images``, uint8 of shape ``(N, C, H, W)`` or ``(N, H, W)``, and an array
``labels``: integers from 0, or the names of the classes. For other tasks, ``labels`` has the shape
``(N, K)``: 0 or 1 for each of K labels, or K numbers; one number may have the shape ``(N,)``.
``train.npz`` may have an array ``classes`` with the names of the classes by number, or of the
labels or numbers by column. ``write_arrays`` writes such files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from darts.data.images import MemoryImages
from darts.data.source import Request, Source, memory_source
from darts.data.split import HoldOutOptions, hold_out_test
from darts.data.targets import CLASSES, LABELS, NUMBERS, standardize_splits, strata
from darts.reading import FileError, read_npz
from darts.writing import open_atomically

SPLITS = ("train", "valid", "test")
_LIMIT = 2**35  # bytes of one file, 32 GiB


def load_arrays(request: Request[HoldOutOptions]) -> Source:
    """Load images from arrays, resized if there is a ``size``.

    Without ``test.npz``, ``valid.npz`` is the test split; without both, it is a stratified share of
    the training split, which depends on the options alone.

    Raises:
        FileError: If a file is damaged or its arrays do not fit.
        ValueError: If there is no ``train.npz``.
    """
    (train_file,) = request.files("train.npz", needed="the arrays of the training images")
    arrays = {"train": read_npz(train_file, limit=_LIMIT)}
    for split in SPLITS[1:]:
        file = request.folder() / f"{split}.npz"
        if file.is_file():
            arrays[split] = read_npz(file, limit=_LIMIT)
    if request.targets == CLASSES:
        names = _class_names(train_file, arrays["train"])
    else:
        names = _column_names(train_file, arrays["train"])
        if request.targets == LABELS and len(names) < 2:
            raise FileError(
                f"{train_file}: labels must have at least two columns with task=multi_label; for "
                "one label, set task=classification"
            )
    splits = {
        split: _read_split(request.folder() / f"{split}.npz", content, names, request.targets)
        for split, content in arrays.items()
    }
    train = splits["train"]
    for split, other in splits.items():
        if other.shape != train.shape and request.size is None:
            raise FileError(
                f"{request.folder() / f'{split}.npz'}: images have shape {other.shape}, but those "
                f"of train.npz {train.shape}"
            )
    where = f"{request.name}: {train_file}"
    if "test" not in splits and "valid" in splits:
        splits["test"] = splits.pop("valid")
    elif "test" not in splits:
        groups = strata(train.targets)
        kept, test = hold_out_test(groups, request.options, name="npz", where=where)
        splits["train"], splits["test"] = train.select(kept), train.select(test)
    targets, scale = {name: split.targets for name, split in splits.items()}, None
    if request.targets == NUMBERS:
        targets, scale = standardize_splits(targets, names, where)
    images = {name: MemoryImages(split.pixels, targets[name]) for name, split in splits.items()}
    return memory_source(
        request.name,
        names,
        images["train"],
        images.get("test"),
        valid=images.get("valid"),
        size=request.size,
        scale=scale,
    )


class _Split(NamedTuple):
    """Images ``(N, C, H, W)`` uint8 and their targets; numbers are not yet standardized."""

    pixels: Tensor
    targets: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape[1:])

    def select(self, indices: Tensor) -> _Split:
        return _Split(self.pixels[indices], self.targets[indices])


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
    folder.mkdir(parents=True, exist_ok=True)
    for split, (pixels, labels) in splits.items():
        arrays = {"images": pixels.numpy(), "labels": labels.numpy(), "classes": np.array(classes)}
        with open_atomically(folder / f"{split}.npz") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


def _class_names(file: Path, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names of the classes: those of the file, or the distinct labels."""
    labels = _labels(file, arrays)
    if names := _listed_names(file, arrays):
        return names
    if labels.dtype.kind == "U":
        return tuple(sorted({str(label) for label in labels}))
    count = int(labels.max()) + 1 if len(labels) else 0
    if count > 2 * len(labels):  # a mistake; the network would have an output for each number
        raise FileError(f"{file}: labels go up to {count - 1}, but there are {len(labels)} images")
    return tuple(str(number) for number in range(count))


def _column_names(file: Path, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names of the labels or numbers of a sample: those of the file, or numbers."""
    count = _columns(file, arrays).shape[1]
    names = _listed_names(file, arrays) or tuple(f"target{number}" for number in range(count))
    if len(names) != count:
        raise FileError(f"{file}: classes has {len(names)} names, but labels {count} columns")
    return names


def _listed_names(file: Path, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names in the array ``classes``; none if there is no such array."""
    if "classes" not in arrays:
        return ()
    names = arrays["classes"]
    if names.ndim != 1 or names.dtype.kind != "U" or not len(names):
        raise FileError(f"{file}: classes must be a list of names, not {_describe(names)}")
    listed = tuple(str(name) for name in names)
    if len(set(listed)) < len(listed):
        raise FileError(f"{file}: classes has a name twice")
    return listed


def _read_split(
    file: Path, arrays: Mapping[str, np.ndarray], names: Sequence[str], targets: str
) -> _Split:
    pixels = _pixels(file, arrays)
    values = _classes(file, arrays, names) if targets == CLASSES else _columns(file, arrays)
    if len(values) != len(pixels):
        raise FileError(f"{file} has {len(pixels)} images, but {len(values)} labels")
    if targets != CLASSES and values.shape[1] != len(names):
        raise FileError(
            f"{file}: labels has {values.shape[1]} columns, but that of train.npz {len(names)}"
        )
    if targets == LABELS:
        if not np.isin(values, (0, 1)).all():
            raise FileError(f"{file}: labels must be 0 or 1 with task=multi_label")
        values = values.astype(np.float32)
    return _Split(torch.from_numpy(pixels), torch.from_numpy(values))


def _pixels(file: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the images, ``(N, C, H, W)`` uint8."""
    if "images" not in arrays:
        raise FileError(f"{file} has no array named images")
    pixels = arrays["images"]
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or 0 in pixels.shape:
        raise FileError(
            f"{file}: images must be uint8 of shape (N, C, H, W) or (N, H, W), not "
            f"{_describe(arrays['images'])}"
        )
    return pixels


def _columns(file: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the labels or numbers of each image, ``(N, K)`` float64."""
    if "labels" not in arrays:
        raise FileError(f"{file} has no array named labels")
    labels = arrays["labels"]
    values = labels[:, None] if labels.ndim == 1 else labels
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "biuf":
        raise FileError(
            f"{file}: labels must be numbers of shape (N, K) or (N,), not {_describe(labels)}"
        )
    if not np.isfinite(values).all():
        raise FileError(f"{file}: labels has a number that is not finite")
    return values.astype(np.float64)


def _classes(file: Path, arrays: Mapping[str, np.ndarray], classes: Sequence[str]) -> np.ndarray:
    """Return the class of each image, ``(N,)`` int64."""
    labels = _labels(file, arrays)
    if labels.dtype.kind == "U":
        numbers = {name: number for number, name in enumerate(classes)}
        unknown = next((str(name) for name in labels if str(name) not in numbers), None)
        if unknown is not None:
            raise FileError(f"{file}: {unknown!r} is not a class of train.npz")
        return np.array([numbers[str(name)] for name in labels], dtype=np.int64)
    if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        found = f"{labels.min()} to {labels.max()}" if len(labels) else "missing"
        raise FileError(f"{file}: labels are {found}; must be 0 to {len(classes) - 1}")
    return labels.astype(np.int64)


def _labels(file: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if "labels" not in arrays:
        raise FileError(f"{file} has no array named labels")
    labels = arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise FileError(
            f"{file}: labels must be integers or names, one per image, not {_describe(labels)}"
        )
    return labels


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"
