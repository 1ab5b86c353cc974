"""PyTorch datasets and tables of pandas as data sets of this project.

The samples are written once to a folder, as arrays or as a table. Every command can read them from
there, including a command that resumes a run, and the processes that ``darts find`` starts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from darts.data.arrays import write_arrays
from darts.data.columns import NUMBER
from darts.data.given_samples import Samples, is_table
from darts.data.table_columns import EVERY
from darts.data.targets import CLASSES
from darts.writing import write_atomically

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path("runs") / "data"


class StoredDataset(NamedTuple):
    """A data set on disk: values of configuration keys.

    Attributes:
        name: Value of ``dataset``: "npz" for images, "csv" for rows of numbers.
        root: Value of ``dataset.root``.
        labels: Value of ``dataset.labels``: names of the target columns of a table whose samples
            have several labels or numbers.
        kinds: Value of ``dataset.kinds``.
    """

    name: str
    root: Path
    labels: tuple[str, ...] = ()
    kinds: Mapping[str, str] = MappingProxyType({})


def store(
    train: Samples, test: Samples | None = None, root: Path = ROOT, *, targets: str = CLASSES
) -> StoredDataset:
    """Write samples to a folder whose name is a hash of their content.

    Args:
        train: A table of pandas, whose index is left out; or a map-style dataset of pairs
            ``(sample, target)``. A sample is a row of numbers ``(F,)`` or an image: a PIL image, or
            an array or tensor of uint8, or of floats from 0 to 1. Its shape is ``(H, W)`` or
            ``(C, H, W)``, with 1 or 3 channels in an array; arrays may also be ``(H, W, C)``.
            A target is a class, an integer from 0; or numbers or labels (0 or 1), a number or a
            sequence, array or tensor ``(K,)``. An attribute ``classes`` gives the names of the
            classes, labels or numbers.
        test: Test samples. None: only ``train`` is written, and loading it later holds out a fifth
            of it as the test split.
        root: Folder of the written data sets.
        targets: What each sample has, see ``darts.data.targets``.
    """
    given = {"train": train} if test is None else {"train": train, "test": test}
    if all(map(is_table, given.values())):
        return _store_tables(given, root)
    if any(map(is_table, given.values())):
        raise ValueError("data: only one of training and test samples is a table of pandas")
    numbers = {name: number for number, name in enumerate(_classes(train))}
    splits = {split: _read(own, split, targets, numbers) for split, own in given.items()}
    shapes = {
        split: [tuple(values.shape[1:]) for values in found] for split, found in splits.items()
    }
    if shapes["train"] != shapes.get("test", shapes["train"]):
        raise ValueError(f"data: samples or targets of train and test differ in shape: {shapes}")
    names = _names(train, [labels for _, labels in splits.values()])
    if splits["train"][0].ndim == 2:
        tables = {split: _table(*own, names) for split, own in splits.items()}
        labels_of = () if targets == CLASSES else names
        return _store_tables(tables, root)._replace(labels=labels_of, kinds={EVERY: NUMBER})
    digest = hashlib.sha256(repr(names).encode())
    for split, (samples, labels) in splits.items():
        digest.update(f"{split} {samples.dtype} {tuple(samples.shape)}".encode())
        digest.update(np.ascontiguousarray(samples.numpy()).data)
        digest.update(labels.numpy().data)
    folder = (root / digest.hexdigest()[:16]).absolute()
    # The test split is written last, so the folder is complete if its file exists.
    if not (folder / f"{[*splits][-1]}.npz").exists():
        write_arrays(folder, splits, names)
    return StoredDataset("npz", folder)


def _store_tables(tables: Mapping[str, pd.DataFrame], root: Path) -> StoredDataset:
    texts = {split: str(table.to_csv(index=False)) for split, table in tables.items()}
    digest = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()
    folder = (root / digest[:16]).absolute()
    if not (folder / f"{[*texts][-1]}.csv").exists():  # the last one that is written
        for split, text in texts.items():
            write_atomically(folder / f"{split}.csv", text)
    return StoredDataset("csv", folder)


def _read(
    dataset: Any, split: str, targets: str, numbers: Mapping[str, int]
) -> tuple[Tensor, Tensor]:
    """Return all samples and their targets; ``numbers`` of the classes by name.

    Samples are ``(N, C, H, W)`` uint8 or ``(N, F)`` float64. Targets are classes ``(N,)`` int64, or
    labels or numbers ``(N, K)`` float64.
    """
    samples: list[Tensor] = []
    labels: list[Tensor] = []
    for index in range(len(dataset)):
        place = f"data: sample {index} of {split}"
        entry = dataset[index]
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise ValueError(f"{place} is not a pair (sample, label)")
        sample, target = entry
        samples.append(_sample(sample, place))
        if isinstance(target, str):
            target = numbers.get(target.strip(), str(target))
        labels.append(_target(target, place, targets))
        if samples[-1].shape != samples[0].shape:
            raise ValueError(
                f"{place} has shape {tuple(samples[-1].shape)}, but the first one "
                f"{tuple(samples[0].shape)}; resize them in the transform of the dataset"
            )
        if labels[-1].shape != labels[0].shape:
            raise ValueError(
                f"{place} has {len(labels[-1])} targets, but the first one {len(labels[0])}"
            )
    if not samples:
        raise ValueError(f"data: {split} has no samples")
    return torch.stack(samples), torch.stack(labels)


def _sample(sample: object, place: str) -> Tensor:
    """Return an image as ``(C, H, W)`` uint8, or a row as ``(F,)`` float64."""
    if isinstance(sample, Tensor):
        values = sample.detach().cpu()
    else:
        if hasattr(sample, "mode") and hasattr(sample, "convert"):  # a PIL image
            sample = sample.convert("L" if sample.mode in ("1", "L") else "RGB")
        array = np.array(sample)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{place} is {type(sample).__name__}, neither an image nor a row")
        values = torch.from_numpy(array)
        if values.ndim == 3 and values.shape[0] not in (1, 3):
            values = values.permute(2, 0, 1)  # height, width, channels
    if values.ndim == 1:
        return values.double()
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[0] > 4:
        raise ValueError(f"{place} has shape {tuple(values.shape)}: neither an image nor a row")
    if values.dtype == torch.uint8:
        return values
    low, high = float(values.min()), float(values.max())
    if not values.is_floating_point() or not (low >= 0 and high <= 1):  # also true for NaN
        raise ValueError(
            f"{place} is an image with {values.dtype} values from {low:g} to {high:g}; give uint8 "
            "values, or floats from 0 to 1 (leave out Normalize; training normalizes)"
        )
    return (values * 255).round().to(torch.uint8)


def _target(target: object, place: str, targets: str) -> Tensor:
    """Return a class ``()`` int64, or the labels or numbers of a sample ``(K,)`` float64."""
    try:
        array = np.asarray(target.tolist() if isinstance(target, Tensor) else target)
    except ValueError:  # nested lists of different lengths
        array = np.array(None)
    if targets == CLASSES:
        if array.ndim or array.dtype.kind not in "iu" or array < 0:
            raise ValueError(
                f"{place} has the label {target!r}; must be an integer >= 0, the number of a "
                "class; for numbers, set task=regression, for several labels task=multi_label"
            )
        return torch.tensor(int(array))
    is_numeric = array.ndim < 2 and array.size > 0 and array.dtype.kind in "biuf"
    if not is_numeric or not np.isfinite(array).all():
        raise ValueError(f"{place} has the target {target!r}; must be one or several numbers")
    return torch.from_numpy(np.atleast_1d(array).astype(np.float64))


def _classes(dataset: object) -> tuple[str, ...]:
    """Return the attribute ``classes`` of a dataset, as torchvision has it."""
    while not hasattr(dataset, "classes") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset  # of a Subset
    listed = getattr(dataset, "classes", None)
    return tuple(str(name).strip() for name in listed) if isinstance(listed, list | tuple) else ()


def _names(dataset: object, labels: Sequence[Tensor]) -> tuple[str, ...]:
    """Return the names of the classes, labels or numbers of a dataset, or numbered names."""
    names = _classes(dataset)
    is_valid = all(names) and len({*names}) == len(names)
    if labels[0].ndim == 2:
        count = labels[0].shape[1]
        numbered = tuple(f"target{number}" for number in range(count))
        return names if is_valid and len(names) == count else numbered
    count = max(int(own.max()) for own in labels) + 1
    samples = sum(map(len, labels))
    if count > 2 * samples:  # a mistake; the network would have an output for each number
        raise ValueError(f"data: labels go up to {count - 1}, but there are {samples} samples")
    return names if is_valid and len(names) >= count else tuple(map(str, range(count)))


def _table(samples: Tensor, labels: Tensor, names: Sequence[str]) -> pd.DataFrame:
    """Return a table of rows and targets, classes by name."""
    import pandas as pd

    if labels.ndim == 1:
        targets = pd.DataFrame({"class": [names[label] for label in labels.tolist()]})
    else:
        targets = pd.DataFrame(labels.numpy(), columns=list(names))
    prefix = "column"
    while any(name.startswith(prefix) for name in targets.columns):
        prefix += "_"
    rows = pd.DataFrame(samples.numpy()).add_prefix(prefix)
    return pd.concat([rows, targets], axis=1)
