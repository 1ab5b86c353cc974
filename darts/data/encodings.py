"""How the rows of a table become the inputs of a network.

The training split determines the encoding. It is saved with the weights of a network, so that new
rows can be predicted without the training data.

* A number is standardized. A missing number becomes 0, the mean. If training rows lack values, a
  further input is 1 for missing ones, else 0.
* With bins, a number also gets a piecewise linear encoding. A network that reads standardized
  numbers learns smooth functions of them far more easily than steps and peaks, for which a decision
  tree needs only a few splits. Here the numbers of a column are divided at quantiles of the
  training rows. A number becomes one input per bin: 0 if it lies below the bin, 1 if it lies above,
  and otherwise its position within the bin, from 0 to 1.
* A date becomes five standardized numbers: year, month, day of the week, hour, and days.
* Each category has one input, which is 1 for this category, else 0. The weights of the first layer
  for this input are the embedding of the category. If training rows lack values, "missing" is a
  category. All inputs of an unseen category are 0.

The inputs are ordered: numbers and dates, inputs for missing ones, categories, bins.

References:
    Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning",
    arXiv:2203.05556: the piecewise linear encoding with bins at quantiles. Here the encoding of a
    value outside of all bins stays 0 or 1, so that no outlier is amplified; the network reads the
    size of outliers from the standardized number.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darts.data.columns import CATEGORY, NUMBER, UNUSED, CellError, Column
from darts.data.text_file import shortened
from darts.data.words import WordEncoding

# Largest number of bins of a table; wider tables get fewer bins per column.
MAX_BINS = 4096

# Largest number of categories of a column that have inputs; rarer ones count as unseen. It bounds
# the width of a table with many categories.
MAX_CATEGORIES = 256

Numbers: TypeAlias = NDArray[np.float64]
Inputs: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class RowEncoding:
    """The columns of a table, also those that are not used.

    Attributes:
        columns: The columns.
    """

    columns: tuple[Column, ...]

    @classmethod
    def fit(
        cls, columns: Sequence[Column], cells: Sequence[Sequence[str]], bins: int
    ) -> RowEncoding:
        """Return the encoding that training rows determine.

        Args:
            columns: Kinds and forms of the columns.
            cells: The training rows of each column.
            bins: Largest number of bins of a column. One with few different numbers has fewer; one
                with at most two has none, because its encoding would be the number again.

        Raises:
            CellError: If a cell is not of the kind of its column, or not finite.
        """
        numeric = [column for column in columns if column.kind == NUMBER]
        count = min(bins, MAX_BINS // max(len(numeric), 1))
        pairs = zip(columns, cells, strict=True)
        return cls(tuple(_fit(column, own, count) for column, own in pairs))

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
        return sum(
            len(own.categories) + own.parts + (own.parts > 0 and own.may_lack)
            + max(len(own.edges) - 1, 0)
            for own in self.used
        )  # fmt: skip

    def without_bins(self) -> RowEncoding:
        """Return the encoding without bins, whose inputs are the first ones of this encoding."""
        return RowEncoding(tuple(dataclasses.replace(own, edges=()) for own in self.columns))

    def __call__(self, cells: Sequence[Sequence[str]]) -> Tensor:
        """Return the inputs ``(N, width, 1, 1)`` float32 of rows.

        Args:
            cells: The cells of each used column.

        Raises:
            CellError: If a cell is not of the kind of its column, or a number is too large.
        """
        numbers: list[Inputs] = []
        lacking: list[Inputs] = []
        categories: list[Inputs] = []
        bins: list[Inputs] = []
        for column, own in zip(self.used, cells, strict=True):
            if column.kind == CATEGORY:
                categories.append(_one_hot(column, own))
                continue
            values = column.numbers(own)
            missing = np.isnan(values).any(1, keepdims=True)
            values = np.where(missing, np.array(column.mean), values)
            numbers.append(_standardized(column, own, values))
            if column.may_lack:
                lacking.append(missing.astype(np.float32))
            if column.edges:
                bins.append(_shares(values, np.array(column.edges)))
        joined = np.concatenate([*numbers, *lacking, *categories, *bins], axis=1)
        return torch.from_numpy(joined)[:, :, None, None]


def _fit(column: Column, cells: Sequence[str], bins: int) -> Column:
    """Return a column with the values that its training rows determine."""
    if column.kind == UNUSED:
        return column
    if column.kind == CATEGORY:
        counts = Counter(map(column.category, cells))
        # A category of a single row teaches nothing about others.
        ranked = sorted((-count, name) for name, count in counts.items() if count > 1)
        names = tuple(name for _, name in ranked[:MAX_CATEGORIES])
        return dataclasses.replace(column, categories=names)
    rows = column.numbers(cells)
    known = rows[~np.isnan(rows).any(1)]
    may_lack = len(known) < len(rows)
    if not len(known):
        known = np.zeros((1, column.parts))
    mean, deviation = _statistics(known)
    edges: list[float] = []
    if bins > 1 and column.kind == NUMBER and len(np.unique(known)) > 2:
        # Existing values as edges: interpolated ones may overflow or coincide.
        quantiles = np.quantile(known, np.linspace(0, 1, bins + 1), method="nearest")
        edges = np.unique(quantiles).tolist()
    return dataclasses.replace(
        column, may_lack=may_lack, mean=mean, deviation=deviation, edges=tuple(edges)
    )


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


def _standardized(column: Column, cells: Sequence[str], values: Numbers) -> Inputs:
    with np.errstate(all="ignore"):  # numbers that are too large become infinite
        scaled = (values - np.array(column.mean)) / np.array(column.deviation)
        inputs: Inputs = scaled.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(inputs).all(1))
    if len(wrong):
        row = int(wrong[0])
        problem = f"{shortened([cells[row]])!r} is too large to standardize"
        raise CellError(row, problem, column.name)
    return inputs


def _one_hot(column: Column, cells: Sequence[str]) -> Inputs:
    index_of = {name: index for index, name in enumerate(column.categories)}
    found = {cell: index_of.get(column.category(cell), -1) for cell in set(cells)}
    indices = np.array([found[cell] for cell in cells], np.int64)
    return np.asarray(indices[:, None] == np.arange(len(index_of)), np.float32)


def _shares(values: Numbers, edges: Numbers) -> Inputs:
    """Return the piecewise linear encoding of numbers ``(N, 1)``, ``(N, bins)``."""
    low, high = edges[:-1], edges[1:]
    values = np.clip(values, low, high)
    with np.errstate(all="ignore"):
        # Halves where the difference of two finite numbers overflows. Not everywhere, because half
        # of the smallest positive number is 0.
        factor = np.where(np.isfinite(high - low), 1.0, 0.5)
        shares = (values * factor - low * factor) / (high * factor - low * factor)
    return np.asarray(shares, np.float32)


# How samples of a user become the inputs of a network.
Encoding: TypeAlias = RowEncoding | WordEncoding
