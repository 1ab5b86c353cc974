"""From the columns of a file to numbers, groups and the inputs of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from darts.data.columns import (
    CATEGORY,
    DATE,
    DECIMAL_COMMA,
    FORMS,
    KINDS,
    NUMBER,
    PLAIN,
    CellError,
    Column,
    Description,
    infer,
    may_have_thousands,
)
from darts.data.encodings import RowEncoding
from darts.data.split import Groups
from darts.data.table_file import Table
from darts.data.text_file import shortened

# Key of `dataset.kinds` for all columns without a key of their own.
EVERY = "*"


def check_kinds(table: Table, kinds: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise ValueError if ``dataset.kinds`` has a wrong column or kind."""
    for name, kind in kinds.items():
        if name not in (*names, EVERY):
            raise ValueError(
                f"csv: dataset.kinds.{name}={kind}: {table.path} has no input column {name!r}; its "
                f"columns are {shortened(names)}"
            )
        if kind not in KINDS:
            raise ValueError(f"csv: dataset.kinds.{name}={kind}: must be one of {', '.join(KINDS)}")


def infer_columns(
    table: Table, names: Sequence[str], kinds: Mapping[str, str]
) -> dict[str, Description]:
    """Return what columns contain by name, or the kinds that are set."""
    found: dict[str, Description] = {}
    for name in names:
        kind = kinds.get(name, kinds.get(EVERY))
        try:
            # In Europe, semicolons separate the columns where commas separate decimals.
            own = infer(name, table.column(name), kind=kind, prefers_commas=table.delimiter == ";")
        except CellError as error:
            advice = ""
            if kind is None:
                advice = f"; correct it, or set dataset.kinds={{{name}: {CATEGORY}}}"
            raise ValueError(f"csv: {table.place(error.row, name)}: {error}{advice}") from None
        found[name] = own
    if any(own.column.form == DECIMAL_COMMA for own in found.values()):
        for name, own in found.items():
            if own.column.form == PLAIN and may_have_thousands(table.column(name)):
                column = dataclasses.replace(own.column, form=DECIMAL_COMMA)
                found[name] = dataclasses.replace(own, column=column)
    return found


def numbers_in(table: Table, column: Column) -> Tensor:
    """Return the numbers of a column, ``(N,)`` float64, or the days of its dates."""
    if not column.parts:
        raise ValueError(f"csv: {table.missing(0, column.name)}")
    with _named_cells(table, table.rows):
        numbers = column.numbers(table.column(column.name))[:, -1]
    if np.isnan(numbers).any():
        raise ValueError(f"csv: {table.missing(int(np.isnan(numbers).argmax()), column.name)}")
    return torch.from_numpy(numbers)


def read_groups(
    tables: Mapping[str, Table], *, group: str | None, time: str | None
) -> Groups | None:
    """Return the groups of training rows by ``dataset.group`` or ``dataset.time``; None for none.

    Args:
        tables: The file of each split.
        group: Name of the column of groups.
        time: Name of the column of dates or numbers.
    """
    if group is not None and time is not None:
        raise ValueError("csv: dataset.group and dataset.time are mutually exclusive; set one")
    train = tables["train"]
    if group is not None:
        return Groups(_numbered(tables, group))
    if time is None:
        return None
    if "test" in tables:
        raise ValueError(
            f"csv: dataset.time={time}: the latest rows are the test split, but there is "
            f"{tables['test'].path}; leave one of them out"
        )
    own = infer_columns(train, [time], {})[time]  # also if it is not an input
    if not own.column.form:
        raise ValueError(
            f"csv: {train.path}, column {time!r} for dataset.time has no numbers or dates, but "
            f"{own.example!r}"
        )
    kind = NUMBER if own.column.form in FORMS[NUMBER] else DATE
    moments = numbers_in(train, Column(time, kind, own.column.form))
    return Groups(torch.unique(moments, return_inverse=True)[1], is_ordered=True)


def _numbered(tables: Mapping[str, Table], group: str) -> Tensor:
    """Return the number of the group of each training row, ``(N,)`` int64.

    Raise ValueError if a group is in two files.
    """
    owner: dict[str, Table] = {}
    for table in tables.values():
        table.check_columns([group], " for dataset.group")
        for name in set(table.texts(group)):
            if owner.setdefault(name, table) is not table:
                raise ValueError(
                    f"csv: dataset.group={group}: {name!r} is in {owner[name].path} and in "
                    f"{table.path}; a group must be in one split"
                )
    return torch.from_numpy(np.unique(tables["train"].texts(group), return_inverse=True)[1])


def fit_encoding(
    table: Table, columns: Sequence[Description], rows: Sequence[int], bins: int
) -> RowEncoding:
    """Return the encoding that training rows determine.

    Args:
        table: The file of the rows.
        columns: What its columns of inputs contain.
        rows: Indices of the training rows.
        bins: Largest number of bins of a column.
    """
    inputs = [own.column for own in columns]
    cells = [table.column(column.name, rows) for column in inputs]
    with _named_cells(table, rows):
        encoding = RowEncoding.fit(inputs, cells, bins)
    if not encoding.width:
        reasons = [f"{own.column.name} ({own.reason or own.column.kind})" for own in columns]
        raise ValueError(
            f"csv: {table.path}: no column is left as an input: {shortened(reasons)}; set "
            "dataset.kinds"
        )
    return encoding


def encode(encoding: RowEncoding, table: Table) -> Tensor:
    """Return the inputs of the rows of a file, ``(N, width, 1, 1)`` float32."""
    with _named_cells(table, table.rows):
        return encoding([table.column(name) for name in encoding.names])


@contextmanager
def _named_cells(table: Table, rows: Sequence[int]) -> Iterator[None]:
    """Add file, line and column to the error of a cell; ``rows`` are the indices of the rows."""
    try:
        yield
    except CellError as error:
        place = table.place(rows[error.row], error.column)
        raise ValueError(f"csv: {place}: {error}") from None
