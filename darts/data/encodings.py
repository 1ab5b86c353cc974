"""How the rows of a table become the inputs of a network.

The training split determines the encoding. It is saved with the weights of a network, so that new
rows can be predicted without the training data.

A number is standardized. If training rows lack it, a further input is 1 where it is missing; the
number then counts as the mean. With bins, a number also gets a piecewise linear encoding. A network
that reads standardized numbers learns smooth functions of them far more easily than steps and
peaks, for which a decision tree needs only a few splits. Here the numbers of a column are divided
at quantiles of the training rows. A number becomes one input per bin: 0 if it lies below the bin, 1
if it lies above, and otherwise its position within the bin, from 0 to 1.

A date becomes five numbers: year, month, day of the week, hour, and days since the first date.

A category has one input, which is 1 where it occurs. The weights of the first layer for this input
are the embedding of the category. A missing category is a category like others if training rows
lack it. For an unseen one, all inputs are 0.

References:
    Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning",
    arXiv:2203.05556: the piecewise linear encoding with bins at quantiles. Here the encoding of a
    value outside of all bins stays 0 or 1, so that no outlier is amplified; the network reads the
    size of outliers from the standardized column.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darts.data.columns import (
    CATEGORY,
    DATE,
    UNUSED,
    CellError,
    Column,
    as_date,
    as_number,
    is_missing,
)
from darts.data.text_file import shortened
from darts.data.words import WordEncoding

MAX_BINS = 4096
"""Largest number of bins of a table; wider tables get fewer bins per column."""

MAX_CATEGORIES = 256
"""Largest number of categories of a column that have inputs; rarer ones count as unseen."""

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class RowEncoding:
    """The columns of a table whose values become inputs, in this order.

    Attributes:
        columns: The columns, also those that are not used.
    """

    columns: tuple[Column, ...]

    @classmethod
    def fit(
        cls, columns: Sequence[Column], cells: Sequence[Sequence[str]], bins: int
    ) -> RowEncoding:
        """Return the encoding that training rows determine.

        Args:
            columns: What the columns contain.
            cells: The training rows of each column.
            bins: Largest number of bins of a column. One with few different numbers has fewer; one
                with at most two has none, because its encoding would be the number again.

        Raises:
            ColumnError: If a cell is not of the kind of its column, or not finite.
        """
        others = [column for column in columns if column.kind not in (CATEGORY, UNUSED)]
        count = min(bins, MAX_BINS // max(len(others), 1))
        fitted = []
        for column, own in zip(columns, cells, strict=True):
            try:
                fitted.append(_fit(column, own, count))
            except CellError as error:
                raise ColumnError(column.name, error) from None
        return cls(tuple(fitted))

    @property
    def used(self) -> list[Column]:
        """The columns that have inputs."""
        return [column for column in self.columns if column.kind != UNUSED]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that have inputs."""
        return tuple(column.name for column in self.used)

    @property
    def width(self) -> int:
        """Number of inputs of the network."""
        return sum(map(_width, self.used))

    def __call__(self, cells: Sequence[Sequence[str]]) -> Tensor:
        """Return the inputs ``(N, width, 1, 1)`` float32 of rows.

        Args:
            cells: The cells of each used column.

        Raises:
            ColumnError: If a cell is not of the kind of its column, or a number is too large.
        """
        parts: list[NDArray[np.float32]] = []
        for column, own in zip(self.used, cells, strict=True):
            try:
                with np.errstate(all="ignore"):  # numbers that are too large become infinite
                    part = _encode(column, own).astype(np.float32)
                wrong = np.flatnonzero(~np.isfinite(part).all(1))
                if len(wrong):
                    row = int(wrong[0])
                    raise CellError(row, f"{shortened([own[row]])!r} is too large to standardize")
            except CellError as error:
                raise ColumnError(column.name, error) from None
            parts.append(part)
        return torch.from_numpy(np.concatenate(parts, axis=1))[:, :, None, None]


class ColumnError(ValueError):
    """A cell that cannot be encoded.

    Attributes:
        column: Name of its column.
        row: Index of its row.
    """

    def __init__(self, column: str, error: CellError) -> None:
        super().__init__(f"column {column!r}: {error}")
        self.column, self.row, self.problem = column, error.row, str(error)


def numbers_of(column: Column, cells: Sequence[str]) -> Numbers:
    """Return the numbers of a column, ``(N, 1)``, or of its dates, ``(N, 5)``; NaN if missing.

    Raises:
        CellError: If a cell is not a finite number, or not a date in the form of the column.
    """
    rows: list[tuple[float, ...]] = []
    parts = 5 if column.kind == DATE else 1
    for index, cell in enumerate(cells):
        if is_missing(cell):
            rows.append((math.nan,) * parts)
        elif column.kind == DATE:
            date = as_date(cell, column.form)
            if date is None:
                raise CellError(index, f"{shortened([cell])!r} is not a date like {column.example}")
            rows.append(_date_parts(date))
        else:
            number = as_number(cell, column.form)
            if not math.isfinite(number):
                problem = "not a number" if math.isnan(number) else "not finite"
                raise CellError(index, f"{shortened([cell])!r} is {problem}")
            rows.append((number,))
    return np.array(rows, np.float64).reshape(-1, parts)


def category_of(column: Column, cell: str) -> str:
    """Return the name of the category of a cell; "" if it is missing.

    A number has one name, however it is written.
    """
    if is_missing(cell):
        return ""
    number = as_number(cell, column.form) if column.form else math.nan
    return cell.strip() if math.isnan(number) else f"{number:.17g}"


_EPOCH = datetime(1970, 1, 1)


def _date_parts(date: datetime) -> tuple[float, ...]:
    """Return year, month, day of the week, hour and days since 1970.

    The mean of the last part is subtracted, so it stands for days since the first date.
    """
    days = (date - _EPOCH).total_seconds() / 86_400
    return date.year, date.month, date.weekday(), date.hour + date.minute / 60, days


def _width(column: Column) -> int:
    if column.kind == CATEGORY:
        return len(column.categories)
    return len(column.mean) + bool(column.missing) + max(len(column.edges) - 1, 0)


def _fit(column: Column, cells: Sequence[str], bins: int) -> Column:
    """Return a column with the values that its training rows determine."""
    if column.kind == UNUSED:
        return column
    if column.kind == CATEGORY:
        counts = Counter(category_of(column, cell) for cell in cells)
        # A category of a single row teaches nothing about others.
        ranked = sorted((-count, name) for name, count in counts.items() if count > 1)
        return dataclasses.replace(
            column, categories=tuple(name for _, name in ranked[:MAX_CATEGORIES])
        )
    rows = numbers_of(column, cells)
    known = rows[~np.isnan(rows).any(1)]
    mean, deviation = _statistics(known)
    edges: list[float] = []
    if bins > 1 and column.kind != DATE and len(np.unique(known)) > 2:
        # Existing values as edges: interpolated ones may overflow or coincide.
        quantiles = np.quantile(known, np.linspace(0, 1, bins + 1), method="nearest")
        edges = np.unique(quantiles).tolist()
    return dataclasses.replace(column, mean=mean, deviation=deviation, edges=tuple(edges))


def _statistics(rows: Numbers) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of numbers ``(N, parts)``; a constant has the deviation 1."""
    constant = rows.max(0) == rows.min(0)
    with np.errstate(all="ignore"):  # the inputs become infinite if a number overflows here
        mean = np.where(constant, rows[0], rows.mean(0))
        centered = rows - mean
        # Relative to the largest value, so that no square overflows or underflows.
        largest = np.where(constant, 1.0, np.abs(centered).max(0))
        spread = largest * np.sqrt(((centered / largest) ** 2).mean(0))
    return tuple(mean.tolist()), tuple(np.where(constant, 1.0, spread).tolist())


def _encode(column: Column, cells: Sequence[str]) -> Numbers:
    """Return the inputs of a column, ``(N, inputs)``."""
    if column.kind == CATEGORY:
        index_of = {name: index for index, name in enumerate(column.categories)}
        indices = [index_of.get(category_of(column, cell), -1) for cell in cells]
        return np.equal.outer(indices, np.arange(len(index_of))).astype(np.float64)
    rows = numbers_of(column, cells)
    missing = np.isnan(rows).any(1, keepdims=True)
    mean = np.array(column.mean)
    rows = np.where(missing, mean, rows)
    parts = [(rows - mean) / np.array(column.deviation)]
    if column.missing:
        parts.append(missing)
    if column.edges:
        edges = np.array(column.edges)
        low, high = edges[:-1], edges[1:]
        values = np.clip(rows, low, high)
        # Halves where the difference of two finite numbers overflows. Not everywhere, because half
        # of the smallest positive number is 0.
        factor = np.where(np.isfinite(high - low), 1.0, 0.5)
        parts.append((values * factor - low * factor) / (high * factor - low * factor))
    return np.concatenate(parts, axis=1)


Encoding: TypeAlias = RowEncoding | WordEncoding
"""How samples of a user become the inputs of a network."""
