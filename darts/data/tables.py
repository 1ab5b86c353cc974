"""Tables with a column of classes, or with columns of other targets, from files.

The root is a file, or a folder with ``train.csv`` and optionally ``valid.csv`` and ``test.csv``;
Parquet files may take their places. Without a test file a stratified share of the training rows is
the test split; it depends on the options ``test_share`` and ``split_seed`` alone.

A sample is a row ``(F, 1, 1)`` float32, see ``darts.data.encodings``. The loaders need not
normalize again: they get mean 0 and deviation 1.

Target columns have classes as text, labels as 0 or 1, or numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from darts.data.columns import CATEGORY, NUMBER, Description, as_number
from darts.data.images import MemoryImages
from darts.data.source import Request, Source
from darts.data.split import HoldOutOptions
from darts.data.table_columns import (
    check_kinds,
    encode,
    fit_encoding,
    infer_columns,
    numbers_in,
    read_groups,
)
from darts.data.table_file import Table, find_tables, read_table
from darts.data.targets import CLASSES, LABELS, NUMBERS, complete_splits
from darts.data.text_file import shortened
from darts.registry import number


@dataclass
class TableOptions(HoldOutOptions):
    """Options of a table."""

    label: str | None = None  # column of the target; None: the last column
    labels: list[str] = field(default_factory=list)  # columns of several labels or numbers
    bins: int = number(0, low=0, high=256)  # of each number's piecewise linear encoding; 0: none
    kinds: dict[str, str] = field(default_factory=dict)  # by column; others follow from the rows
    group: str | None = None  # column of groups of rows that no split divides
    time: str | None = None  # column of numbers or dates; the latest rows are the test split


def load_csv(request: Request[TableOptions]) -> Source:
    """Load a table; the docstring of this module describes its files."""
    options = request.options
    tables = {split: read_table(path) for split, path in _find_files(request).items()}
    train = tables["train"]
    where = f"csv: {train.path}"
    header, target_columns = _split_columns(train, _target_columns(options, request.targets))
    names = [name for name in header if name != options.group]
    check_kinds(train, options.kinds, names)
    for name in (options.group, options.time):
        train.check_columns([] if name is None else [name], " for dataset.group or dataset.time")
    for table in tables.values():
        table.check_columns(target_columns)
    kind = CATEGORY if request.targets == CLASSES else NUMBER
    kinds = options.kinds | dict.fromkeys(target_columns, kind)
    columns = infer_columns(train, [*names, *target_columns], kinds)
    groups = read_groups(tables, group=options.group, time=options.time)
    classes, targets = _read_targets(tables, target_columns, request.targets, columns)
    rows = {split: torch.tensor(table.rows) for split, table in tables.items()}
    targets, scale = complete_splits(
        rows, targets, classes, kind=request.targets, options=options, where=where, groups=groups
    )
    inputs = [columns[name] for name in names]
    encoding = fit_encoding(train, inputs, rows["train"].tolist(), options.bins)
    for table in tables.values():
        table.check_columns(encoding.names)
    encoded = {split: encode(encoding, table) for split, table in tables.items()}
    encoded.setdefault("test", encoded["train"])
    splits = {s: MemoryImages(encoded[s][own], targets[s]) for s, own in rows.items()}
    return Source(
        request.name,
        classes,
        splits["train"],
        splits["test"],
        splits.get("valid"),
        mean=(0.0,) * encoding.width,
        std=(1.0,) * encoding.width,
        encoding=encoding,
        columns=tuple(inputs),
        scale=scale,
        groups=None if groups is None else groups.at(rows["train"]),
    )


def _find_files(request: Request[TableOptions]) -> dict[str, Path]:
    root = request.root
    if root is None:
        raise ValueError("csv: dataset.root must name a CSV file, or a folder with train.csv")
    if root.is_file():
        return {"train": root}
    paths = find_tables(root)
    if "train" not in paths:
        problem = "contains no train.csv" if root.is_dir() else "does not exist"
        raise ValueError(
            f"csv: {root} {problem}: set dataset.root to a CSV file, or a folder with train.csv"
        )
    return paths


def _target_columns(options: TableOptions, kind: str) -> Sequence[str]:
    """Return the names of the target columns; none for the last column."""
    if options.labels and options.label is not None:
        raise ValueError("csv: dataset.label and dataset.labels are mutually exclusive; set one")
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


def _split_columns(table: Table, targets: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check the header of the training table; return the numeric columns and the target columns."""
    header = table.columns
    if "" in header:
        raise ValueError(f"csv: {table.path}, line 1: column {header.index('') + 1} has no name")
    table.check_columns(header)
    table.check_columns(targets, f" for dataset.label{'s' if len(targets) > 1 else ''}")
    chosen = tuple(targets) or (header[-1],)
    columns = tuple(name for name in header if name not in chosen)
    if not columns:
        raise ValueError(
            f"csv: {table.path}: no columns are left for the inputs; a table needs numbers and "
            f"targets, separated by commas, semicolons or tabs, but has {shortened(header)}"
        )
    default_names = tuple(str(number) for number in range(len(columns)))  # of a pandas data frame
    if columns != default_names and not any(math.isnan(as_number(name)) for name in columns):
        raise ValueError(
            f"csv: {table.path}, line 1: the column names are numbers; insert a header above the "
            "rows"
        )
    return columns, chosen


def _read_targets(
    tables: Mapping[str, Table],
    columns: tuple[str, ...],
    kind: str,
    described: Mapping[str, Description],
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Return the names of the classes, labels or numbers, and the targets of each split."""
    if kind == CLASSES:
        names = _class_names(tables["train"], columns[0])
        return names, {split: _classes(table, columns[0], names) for split, table in tables.items()}
    targets = {
        split: torch.stack([numbers_in(table, described[n].column) for n in columns], dim=1)
        for split, table in tables.items()
    }
    if kind == NUMBERS:
        return columns, targets
    for split, values in targets.items():
        wrong = torch.nonzero((values != 0) & (values != 1)).tolist()
        if wrong:
            row, column = wrong[0]
            raise ValueError(
                f"csv: {tables[split].place(row, columns[column])}: {values[row, column]:g} is not "
                "a label; must be 0 or 1"
            )
    return columns, targets


def _class_names(table: Table, column: str) -> tuple[str, ...]:
    """Return the classes of the training file, sorted as integers if all are, else as text."""
    where = f"csv: {table.path}, column {column!r}"
    labels = table.texts(column)
    counts = Counter(labels)
    if len(counts) < 2:
        raise ValueError(f"{where}: {labels[0]!r} is the only class; two or more are needed")
    single = [name for name, count in counts.items() if count < 2]
    if single:
        raise ValueError(
            f"csv: {table.place(labels.index(single[0]), column)}: the only row of class "
            f"{single[0]!r} (of {len(counts)}), but each class needs two rows; if the classes are "
            "in another column, set dataset.label; if these are numbers to predict, set "
            "task=regression"
        )
    # int() rejects numbers of more than 4,300 digits.
    integers = all(len(name) < 100 and name.removeprefix("-").isdecimal() for name in counts)
    return tuple(sorted(counts, key=(lambda name: (int(name), name)) if integers else str))


def _classes(table: Table, column: str, names: Sequence[str]) -> Tensor:
    """Return the index of each row's class, ``(N,)`` int64."""
    labels = table.texts(column)
    index_of = {name: index for index, name in enumerate(names)}
    unknown = next((row for row, name in enumerate(labels) if name not in index_of), None)
    if unknown is not None:
        raise ValueError(
            f"csv: {table.place(unknown, column)}: the training file has no class "
            f"{labels[unknown]!r}"
        )
    return torch.tensor([index_of[name] for name in labels])
