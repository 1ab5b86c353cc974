"""Images in arrays: ``train.npz`` and optionally ``test.npz`` and ``valid.npz`` in one folder.

Each file has an array ``images``, uint8 of shape ``(N, C, H, W)`` or ``(N, H, W)``, and an array
``labels``: integers from 0, or the names of the classes. ``train.npz`` may have an array
``classes`` with the names of the classes by number. ``write_arrays`` writes such files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.data.images import MemoryImages
from darts.data.source import Request, Source, memory_source
from darts.data.split import HoldOutOptions, hold_out_test
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
    classes = _class_names(train_file, arrays["train"])
    images = {
        split: _images(request.folder() / f"{split}.npz", content, classes)
        for split, content in arrays.items()
    }
    train = images["train"]
    for split, other in images.items():
        if other.shape != train.shape and request.size is None:
            raise FileError(
                f"{request.folder() / f'{split}.npz'}: images have shape {other.shape}, but those "
                f"of train.npz {train.shape}"
            )
    if "test" not in images and "valid" in images:
        images["test"] = images.pop("valid")
    elif "test" not in images:
        where = f"{request.name}: {train_file}"
        kept, test = hold_out_test(train.labels, request.options, name="npz", where=where)
        images["train"], images["test"] = train.select(kept), train.select(test)
    return memory_source(
        request.name,
        classes,
        images["train"],
        images.get("test"),
        valid=images.get("valid"),
        size=request.size,
    )


def write_arrays(
    folder: Path, splits: Mapping[str, tuple[Tensor, Tensor]], classes: Sequence[str]
) -> None:
    """Write images and labels, so that ``load_arrays`` reads them from the folder.

    Args:
        folder: Folder of the files; it is created.
        splits: By split ("train", "valid" or "test"), images ``(N, C, H, W)`` uint8 and labels
            ``(N,)`` int64.
        classes: Names of the classes by label.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, (pixels, labels) in splits.items():
        arrays = {"images": pixels.numpy(), "labels": labels.numpy(), "classes": np.array(classes)}
        with open_atomically(folder / f"{split}.npz") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


def _class_names(file: Path, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names of the classes: those of the file, or the distinct labels."""
    labels = _labels(file, arrays)
    if "classes" in arrays:
        names = arrays["classes"]
        if names.ndim != 1 or names.dtype.kind != "U":
            raise FileError(f"{file}: classes must be a list of names, not {_describe(names)}")
        classes = tuple(str(name) for name in names)
        if len(set(classes)) < len(classes):
            raise FileError(f"{file}: classes has a name twice")
        return classes
    if labels.dtype.kind == "U":
        return tuple(sorted({str(label) for label in labels}))
    count = int(labels.max()) + 1 if len(labels) else 0
    if count > 2 * len(labels):  # a mistake; the network would have an output for each number
        raise FileError(f"{file}: labels go up to {count - 1}, but there are {len(labels)} images")
    return tuple(str(number) for number in range(count))


def _images(file: Path, arrays: Mapping[str, np.ndarray], classes: Sequence[str]) -> MemoryImages:
    if "images" not in arrays:
        raise FileError(f"{file} has no array named images")
    pixels, labels = arrays["images"], _labels(file, arrays)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or 0 in pixels.shape:
        raise FileError(
            f"{file}: images must be uint8 of shape (N, C, H, W) or (N, H, W), not "
            f"{_describe(arrays['images'])}"
        )
    if len(labels) != len(pixels):
        raise FileError(f"{file} has {len(pixels)} images, but {len(labels)} labels")
    if labels.dtype.kind == "U":
        numbers = {name: number for number, name in enumerate(classes)}
        unknown = next((str(name) for name in labels if str(name) not in numbers), None)
        if unknown is not None:
            raise FileError(f"{file}: {unknown!r} is not a class of train.npz")
        labels = np.array([numbers[str(name)] for name in labels], dtype=np.int64)
    elif int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        raise FileError(
            f"{file}: labels are {labels.min()} to {labels.max()}; must be 0 to {len(classes) - 1}"
        )
    return MemoryImages(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64)))


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
