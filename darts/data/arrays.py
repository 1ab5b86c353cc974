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

import numpy as np
import torch
from torch import Tensor

from darts.data.images import MemoryImages
from darts.data.source import Request, Source, memory_source
from darts.data.split import HoldOutOptions
from darts.data.targets import CLASSES, LABELS, complete_splits
from darts.reading import FileError, read_npz
from darts.writing import open_atomically

SPLITS = ("train", "valid", "test")
_LIMIT = 2**35  # bytes of one file, 32 GiB


def load_arrays(request: Request[HoldOutOptions]) -> Source:
    """Load images from arrays, resized if there is a ``size``.

    Without ``test.npz``, ``valid.npz`` is the test split; without both, it is a stratified share of
    the training split, which depends on the options alone.
    """
    (train_file,) = request.files("train.npz", needed="the arrays of the training images")
    files = {split: train_file.with_name(f"{split}.npz") for split in SPLITS}
    arrays = {
        split: read_npz(file, limit=_LIMIT) for split, file in files.items() if file.is_file()
    }
    labels = {split: _labels(files[split], own, request.targets) for split, own in arrays.items()}
    names = _names(train_file, arrays["train"].get("classes"), labels["train"])
    if request.targets == LABELS and len(names) < 2:
        raise FileError(
            f"{train_file}: labels must have at least two columns with task=multi_label; for one "
            "label, set task=classification"
        )
    pixels = {split: _pixels(files[split], own) for split, own in arrays.items()}
    targets = {split: _encode(files[split], own, names) for split, own in labels.items()}
    shape = pixels["train"].shape[1:]
    for split, own in pixels.items():
        if len(own) != len(targets[split]):
            raise FileError(
                f"{files[split]} has {len(own)} images, but {len(targets[split])} labels"
            )
        if own.shape[1:] != shape and request.size is None:
            raise FileError(
                f"{files[split]}: images have shape {tuple(own.shape[1:])}, but in train.npz "
                f"{tuple(shape)}"
            )
    for values in (pixels, targets):
        if "test" not in values and "valid" in values:
            values["test"] = values.pop("valid")
    where = f"npz: {train_file}"
    targets, scale = complete_splits(
        pixels, targets, names, kind=request.targets, options=request.options, where=where
    )
    images = {split: MemoryImages(pixels[split], own) for split, own in targets.items()}
    return memory_source(
        request.name, names, **images, size=request.size, statistics=None, scale=scale
    )


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


def _pixels(file: Path, arrays: Mapping[str, np.ndarray]) -> Tensor:
    """Return the images, ``(N, C, H, W)`` uint8."""
    images = _array(file, arrays, "images")
    pixels = images[:, None] if images.ndim == 3 else images
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or 0 in pixels.shape:
        raise FileError(
            f"{file}: images must be uint8 of shape (N, C, H, W) or (N, H, W), not "
            f"{_describe(images)}"
        )
    return torch.from_numpy(pixels)


def _labels(file: Path, arrays: Mapping[str, np.ndarray], kind: str) -> np.ndarray:
    """Return classes ``(N,)``, integers or names, or labels or numbers ``(N, K)`` float64."""
    labels = _array(file, arrays, "labels")
    if kind == CLASSES:
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


def _array(file: Path, arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise FileError(f"{file} has no array named {name}")
    return arrays[name]


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"
