"""Any table of numbers with a column of classes, from CSV files.

The root is a file, or a folder with `train.csv` and, if there are such, `valid.csv` and `test.csv`.
Where there is no test file, a stratified part of the training rows that depends on the share and
the seed of the split alone, not on the seed of the run, becomes the test split.

A sample is a row, as the network sees it (F, 1, 1) float32: each column minus the mean of the
training rows, divided by their deviation. That is done here in float64, where the numbers of a
column (dates in seconds, say) may be large and close together; so mean 0 and deviation 1 are what
is left for the batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.data.images import MemoryImages
from darts.data.randomness import mix
from darts.data.source import Query, Source, memory_source
from darts.data.split import stratified_split
from darts.data.table_file import Table, read_table

__all__ = ["OPTIONS", "load_csv"]

OPTIONS = {"label": None, "test_share": 0.2, "split_seed": 0}
"""The options and their defaults: the column of classes (None: the last), and of a test split that
is held out the share and the seed."""


def load_csv(query: Query) -> Source:
    """Tables of numbers; see the top of this module.

    Raises:
        ValueError: in one line that names the file, and where it can be told line and column.
    """
    options = {**OPTIONS, **query.options}
    share, seed = options["test_share"], options["split_seed"]
    if not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"csv: test_share must lie between 0 and 1, not {share!r}")
    if query.size is not None:
        raise ValueError(
            f"csv: a row of numbers has no size in pixels: leave size={query.size} out"
        )
    files = _files(query)
    train = read_table(files["train"], options["label"])
    classes = _classes(train)
    labels = _labels(train, classes)
    others = {
        part: read_table(path, train.label).in_order(train.columns)
        for part, path in files.items()
        if part != "train"
    }
    features = {part: table.features for part, table in others.items()}
    answers = {part: _labels(table, classes) for part, table in others.items()}
    kept = torch.arange(len(labels))
    if "test" not in others:
        kept, held = stratified_split(labels, (1 - share, share), seed=mix("csv", "test", seed))
        if not len(held) or len(labels[kept].unique()) < len(classes):
            raise ValueError(
                f"csv: {train.path}: dataset.test_share={share} of {len(labels)} rows leaves no "
                f"{'training row of a class' if len(held) else 'test row'}"
            )
        features["test"], answers["test"] = train.features[held.numpy()], labels[held]
    rows = train.features[kept.numpy()]
    standardized = _standardization(train, rows)
    splits = {
        part: MemoryImages(standardized(features[part]), answers[part])
        for part in ("valid", "test")
        if part in features
    }
    count = len(train.columns)
    return memory_source(
        query.name,
        classes,
        MemoryImages(standardized(rows), labels[kept]),
        splits["test"],
        size=None,
        valid=splits.get("valid"),
        constants=((0.0,) * count, (1.0,) * count),
    )


def _files(query: Query) -> dict[str, Path]:
    """The file of each part that has one."""
    root = query.root
    if root is None:
        raise ValueError("csv: dataset.root must name a CSV file, or a folder with train.csv")
    if root.is_file():
        return {"train": root}
    places = {part: root / f"{part}.csv" for part in ("train", "valid", "test")}
    found = {part: path for part, path in places.items() if path.is_file()}
    if "train" not in found:
        what = "holds no train.csv" if root.is_dir() else "is not there"
        raise ValueError(f"csv: {root} {what}: set dataset.root to a file, or a folder with one")
    return found


def _classes(table: Table) -> tuple[str, ...]:
    """The classes of the training file in order: whole numbers as such, others as texts."""
    where = f"csv: {table.path}, column {table.label!r}"
    counts = Counter(table.labels)
    if len(counts) < 2:
        raise ValueError(f"{where}: {table.labels[0]!r} is the only class; two are needed at least")
    single = [name for name, count in counts.items() if count < 2]
    if single:
        line = table.lines[table.labels.index(single[0])]
        raise ValueError(
            f"{where}: line {line} is the only row of class {single[0]!r} (of {len(counts)}), and "
            "two are needed at least; if these are no classes, set dataset.label"
        )
    whole = all(name.removeprefix("-").isdecimal() for name in counts)
    return tuple(sorted(counts, key=(lambda name: (int(name), name)) if whole else str))


def _labels(table: Table, classes: Sequence[str]) -> Tensor:
    """The number of each row's class, ``(N,)`` int64."""
    numbers = {name: number for number, name in enumerate(classes)}
    for line, name in zip(table.lines, table.labels, strict=True):
        if name not in numbers:
            raise ValueError(
                f"csv: {table.path}, line {line}, column {table.label!r}: {name!r} is no class of "
                "the training file"
            )
    return torch.tensor([numbers[name] for name in table.labels])


def _standardization(table: Table, rows: np.ndarray) -> Callable[[np.ndarray], Tensor]:
    """By the training rows: a function from ``(N, F)`` float64 to ``(N, F, 1, 1)`` float32."""
    constant = rows.max(0) == rows.min(0)
    with np.errstate(all="ignore"):  # what overflows is found below
        mean = np.where(constant, rows[0], rows.mean(0))
        centerd = rows - mean
        # Relative to the largest, so that no square overflows or vanishes.
        largest = np.where(constant, 1.0, np.abs(centerd).max(0))
        deviation = np.where(constant, 1.0, largest * np.sqrt(((centerd / largest) ** 2).mean(0)))

    def standardized(features: np.ndarray) -> Tensor:
        with np.errstate(all="ignore"):
            values = torch.from_numpy(((features - mean) / deviation).astype(np.float32))
        strange = torch.nonzero(~values.isfinite().all(0)).flatten().tolist()
        if strange:
            name = table.columns[strange[0]]
            raise ValueError(
                f"csv: {table.path}, column {name!r}: numbers too large to standardize"
            )
        return values[:, :, None, None]

    return standardized
