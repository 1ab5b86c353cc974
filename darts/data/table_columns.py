"""From the columns of a file to numbers, groups and the inputs of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from darts.data.columns import (
    DATE,
    DECIMAL_COMMA,
    FORMS,
    KINDS,
    NUMBER,
    PLAIN,
    CellError,
    Column,
    infer,
    may_have_thousands,
)
from darts.data.encodings import ColumnError, RowEncoding, numbers_of
from darts.data.split import Groups
from darts.data.table_file import Table
from darts.data.text_file import shortened


def check_kinds(table: Table, kinds: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise ValueError if ``dataset.kinds`` has a wrong column or kind."""
    for name, kind in kinds.items():
        if name not in names:
            raise ValueError(
                f"csv: dataset.kinds.{name}={kind}: {table.path} has no input column {name!r}; its "
                f"columns are {shortened(names)}"
            )
        if kind not in KINDS:
            raise ValueError(f"csv: dataset.kinds.{name}={kind}: must be one of {', '.join(KINDS)}")


def infer_columns(
    table: Table, names: Sequence[str], rows: Sequence[int], kinds: Mapping[str, str]
) -> list[Column]:
    """Return what some rows of columns contain, or the kinds that are set."""
    columns = []
    for name in names:
        cells = table.column(name, rows)
        try:
            column = infer(name, cells, kind=kinds.get(name), prefers_commas=table.delimiter != ",")
        except CellError as error:
            raise ValueError(f"csv: {table.place(rows[error.row], name)}: {error}") from None
        columns.append(column)
    if any(column.form == DECIMAL_COMMA for column in columns):
        for index, column in enumerate(columns):
            if column.form == PLAIN and may_have_thousands(table.column(column.name, rows)):
                columns[index] = dataclasses.replace(column, form=DECIMAL_COMMA)
    return columns


def numbers_in(table: Table, column: Column) -> Tensor:
    """Return the numbers of a column, ``(N,)`` float64, or the days of its dates."""
    cells = table.column(column.name)
    try:
        numbers = numbers_of(column, cells)[:, -1]
    except CellError as error:
        raise ValueError(f"csv: {table.place(error.row, column.name)}: {error}") from None
    if np.isnan(numbers).any():
        raise ValueError(f"csv: {table.missing(int(np.isnan(numbers).argmax()), column.name)}")
    return torch.from_numpy(numbers)


def read_groups(table: Table, *, group: str | None, time: str | None) -> Groups | None:
    """Return the groups of rows by ``dataset.group`` or ``dataset.time``; None for none."""
    if group is not None and time is not None:
        raise ValueError("csv: dataset.group and dataset.time are mutually exclusive; set one")
    if group is not None:
        table.check_columns([group], " for dataset.group")
        _, groups = np.unique(table.texts(group), return_inverse=True)
        return Groups(torch.from_numpy(groups))
    if time is None:
        return None
    table.check_columns([time], " for dataset.time")
    (column,) = infer_columns(table, [time], table.rows, {})
    if not column.form:
        raise ValueError(
            f"csv: {table.path}, column {time!r} for dataset.time has no numbers or dates, but "
            f"{column.example!r}"
        )
    column = dataclasses.replace(column, kind=NUMBER if column.form in FORMS[NUMBER] else DATE)
    _, order = torch.unique(numbers_in(table, column), return_inverse=True)
    return Groups(order, is_ordered=True)


def fit_encoding(
    table: Table, names: Sequence[str], rows: Sequence[int], kinds: Mapping[str, str], bins: int
) -> RowEncoding:
    """Return the encoding that training rows determine.

    Args:
        table: The file of the rows.
        names: Names of the columns of inputs.
        rows: Indices of the training rows.
        kinds: Kinds of columns that the user has set.
        bins: Largest number of bins of a column.
    """
    columns = infer_columns(table, names, rows, kinds)
    try:
        encoding = RowEncoding.fit(columns, [table.column(name, rows) for name in names], bins)
    except ColumnError as error:
        place = table.place(rows[error.row], error.column)
        raise ValueError(f"csv: {place}: {error.problem}") from None
    if not encoding.width:
        reasons = [f"{column.name} ({column.reason or column.kind})" for column in columns]
        raise ValueError(
            f"csv: {table.path}: no column is left as an input: {shortened(reasons)}; set "
            "dataset.kinds"
        )
    return encoding


def encode(encoding: RowEncoding, table: Table) -> Tensor:
    """Return the inputs of the rows of a file."""
    try:
        return encoding([table.column(name) for name in encoding.names])
    except ColumnError as error:
        raise ValueError(f"csv: {table.place(error.row, error.column)}: {error.problem}") from None
