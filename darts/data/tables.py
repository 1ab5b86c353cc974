"""Tables of numbers with a column of classes, or with columns of other targets, from CSV files.

The root is a file, or a folder with ``train.csv`` and optionally ``valid.csv`` and ``test.csv``.
Without a test file a stratified share of the training rows is the test split; it depends on the
options ``test_share`` and ``split_seed`` alone.

A sample is a row ``(F, 1, 1)`` float32. Each column is standardized by mean and standard deviation
of the training rows, in float64, because a column may have large numbers that differ little, for
example dates in seconds. The loaders need not normalize again: they get mean 0 and deviation 1.

With ``bins``, a column also gets a piecewise linear encoding, see ``darts.data.binning``.

Target columns have classes as text, labels as 0 or 1, or numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.data.binning import Binning
from darts.data.encodings import RowEncoding
from darts.data.images import MemoryImages
from darts.data.source import Request, Source
from darts.data.split import HoldOutOptions, hold_out_test
from darts.data.table_file import Table, read_table
from darts.data.targets import CLASSES, LABELS, NUMBERS, standardize_splits, strata
from darts.registry import number


@dataclass
class TableOptions(HoldOutOptions):
    """Options of a table."""

    label: str | None = None  # column of the target; None: the last column
    labels: list[str] = field(default_factory=list)  # columns of several labels or numbers
    bins: int = number(0, low=0, high=256)  # of each column's piecewise linear encoding; 0: none


def load_csv(request: Request[TableOptions]) -> Source:
    """Load a table; the docstring of this module describes its files.

    Raises:
        ValueError: If a file is missing or damaged; the message names the file and, if possible,
            line and column.
    """
    options = request.options
    files = _find_files(request)
    train = read_table(files["train"], _target_columns(options, request.targets))
    tables = {"train": train}
    for split, path in files.items():
        if split != "train":
            tables[split] = read_table(path, train.targets).reorder(train.columns)
    features = {split: table.features for split, table in tables.items()}
    names, targets = _READERS[request.targets](tables)
    where = f"csv: {train.path}"
    if "test" not in files:
        kept, test = hold_out_test(strata(targets["train"]), options, name="csv", where=where)
        features["test"], targets["test"] = train.features[test.numpy()], targets["train"][test]
        features["train"], targets["train"] = train.features[kept.numpy()], targets["train"][kept]
    scale = None
    if request.targets == NUMBERS:
        targets, scale = standardize_splits(targets, names, where)
    encoding = _fit(train.columns, features["train"], options.bins)
    splits = {
        split: MemoryImages(_encode(encoding, train.path, rows), targets[split])
        for split, rows in features.items()
    }
    mean, std = (0.0,) * encoding.width, (1.0,) * encoding.width
    return Source(
        request.name,
        names,
        splits["train"],
        splits["test"],
        splits.get("valid"),
        mean,
        std,
        encoding,
        scale,
    )


def _find_files(request: Request[TableOptions]) -> dict[str, Path]:
    root = request.root
    if root is None:
        raise ValueError("csv: dataset.root must name a CSV file, or a folder with train.csv")
    if root.is_file():
        return {"train": root}
    paths = {split: root / f"{split}.csv" for split in ("train", "valid", "test")}
    existing = {split: path for split, path in paths.items() if path.is_file()}
    if "train" not in existing:
        problem = "contains no train.csv" if root.is_dir() else "does not exist"
        raise ValueError(
            f"csv: {root} {problem}: set dataset.root to a CSV file, or a folder with train.csv"
        )
    return existing


def _target_columns(options: TableOptions, kind: str) -> Sequence[str]:
    """Return the names of the target columns; none for the last column."""
    if options.labels and options.label is not None:
        raise ValueError("csv: dataset.label and dataset.labels exclude each other; set one")
    if len({*options.labels}) < len(options.labels):
        raise ValueError(f"csv: dataset.labels={options.labels} has a column twice")
    if options.labels and kind == CLASSES:
        raise ValueError(
            f"csv: dataset.labels={options.labels}: samples with one class have one target column; "
            "set dataset.label to it, or task=multi_label or task=regression"
        )
    if kind == LABELS and len(options.labels) < 2:
        raise ValueError(
            "csv: dataset.labels must name the columns of the labels, at least two; for one "
            "column, set task=classification and dataset.label"
        )
    return options.labels or [name for name in (options.label,) if name is not None]


def _read_classes(tables: Mapping[str, Table]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Return the names of the classes, and the class of each row by split."""
    names = _class_names(tables["train"])
    return names, {split: _encode_classes(table, names) for split, table in tables.items()}


def _read_numbers(tables: Mapping[str, Table]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Return the names of the target columns, and their numbers by split."""
    numbers = {split: torch.from_numpy(table.numbers()) for split, table in tables.items()}
    return tables["train"].targets, numbers


def _read_labels(tables: Mapping[str, Table]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Return the names of the labels, and by split which rows have them."""
    names, labels = _read_numbers(tables)
    for split, values in labels.items():
        wrong = torch.nonzero((values != 0) & (values != 1)).tolist()
        if wrong:
            (row, column), table = wrong[0], tables[split]
            raise ValueError(
                f"csv: {table.path}, line {table.lines[row]}, column {names[column]!r}: "
                f"{table.cells[row][column]!r} is not a label; must be 0 or 1"
            )
    return names, {split: values.float() for split, values in labels.items()}


_READERS = {CLASSES: _read_classes, LABELS: _read_labels, NUMBERS: _read_numbers}
"""Functions that read the targets of all splits, by kind of the targets."""


def _class_names(table: Table) -> tuple[str, ...]:
    """Return the classes of the training file, sorted as integers if all are, else as text."""
    where = f"csv: {table.path}, column {table.targets[0]!r}"
    labels = [name for (name,) in table.cells]
    counts = Counter(labels)
    if len(counts) < 2:
        raise ValueError(f"{where}: {labels[0]!r} is the only class; two or more are needed")
    single = [name for name, count in counts.items() if count < 2]
    if single:
        line = table.lines[labels.index(single[0])]
        raise ValueError(
            f"{where}: line {line} is the only row of class {single[0]!r} (of {len(counts)}), but "
            "each class needs two rows; if the classes are in another column, set dataset.label; "
            "if these are numbers to predict, set task=regression"
        )
    # int() refuses numbers of more than 4,300 digits.
    integers = all(len(name) < 100 and name.removeprefix("-").isdecimal() for name in counts)
    return tuple(sorted(counts, key=(lambda name: (int(name), name)) if integers else str))


def _encode_classes(table: Table, classes: Sequence[str]) -> Tensor:
    """Return the index of each row's class, ``(N,)`` int64."""
    index_of = {name: index for index, name in enumerate(classes)}
    for line, (name,) in zip(table.lines, table.cells, strict=True):
        if name not in index_of:
            raise ValueError(
                f"csv: {table.path}, line {line}, column {table.targets[0]!r}: the training file "
                f"has no class {name!r}"
            )
    return torch.tensor([index_of[name] for (name,) in table.cells])


def _fit(columns: tuple[str, ...], rows: np.ndarray, bins: int) -> RowEncoding:
    """Return the encoding that training rows ``(N, F)`` float64 determine."""
    constant = rows.max(0) == rows.min(0)
    with np.errstate(all="ignore"):  # ``_encode`` reports overflows
        mean = np.where(constant, rows[0], rows.mean(0))
        centered = rows - mean
        # Relative to the largest value, so that no square overflows or underflows.
        largest = np.where(constant, 1.0, np.abs(centered).max(0))
        deviation = np.where(constant, 1.0, largest * np.sqrt(((centered / largest) ** 2).mean(0)))
    binning = Binning.fit(rows, bins)
    return RowEncoding(
        columns,
        tuple(mean.tolist()),
        tuple(deviation.tolist()),
        tuple(binning.columns.tolist()),
        tuple(binning.low.tolist()),
        tuple(binning.high.tolist()),
    )


def _encode(encoding: RowEncoding, path: Path, rows: np.ndarray) -> Tensor:
    """Return the inputs of rows; an error names the file of the training rows."""
    inputs = encoding(rows)
    overflowed = torch.nonzero(~inputs.isfinite().flatten(1).all(0)).flatten().tolist()
    if overflowed:
        name = encoding.columns[overflowed[0]]
        raise ValueError(
            f"csv: {path}, column {name!r}: the numbers are too large to standardize; "
            "rescale or remove the column"
        )
    return inputs
