"""How the rows of a table become the inputs of a network.

The training split determines the encoding. It is saved with the weights of a network, so that new
rows can be predicted without the training data.

Each column of a table is standardized. With bins, it also gets a piecewise linear encoding. A
network that reads standardized columns learns smooth functions of a column far more easily than
steps and peaks, for which a decision tree needs only a few splits. Here each column is divided at
quantiles of the training rows. A value becomes one number per bin: 0 if the value lies below the
bin, 1 if it lies above, and otherwise its position within the bin, from 0 to 1.

References:
    Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning",
    arXiv:2203.05556: the piecewise linear encoding with bins at quantiles. Here the encoding of a
    value outside of all bins stays 0 or 1, so that no outlier is amplified; the network reads the
    size of outliers from the standardized column.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darts.data.words import WordEncoding

MAX_BINS = 4096
"""Largest number of bins of a table; wider tables get fewer bins per column."""


@dataclass(frozen=True)
class RowEncoding:
    """Standardized columns of a table, and their piecewise linear encoding.

    Attributes:
        columns: Names of the columns.
        mean, deviation: Of each column, in the training rows.
        bin_columns: Index of the column of each bin.
        bin_low, bin_high: Lower and upper end of each bin.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    bin_columns: tuple[int, ...] = ()
    bin_low: tuple[float, ...] = ()
    bin_high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.columns) == len(self.mean) == len(self.deviation):
            raise ValueError("encoding: columns, mean and deviation differ in length")
        if not len(self.bin_columns) == len(self.bin_low) == len(self.bin_high):
            raise ValueError("encoding: bin_columns, bin_low and bin_high differ in length")
        if not all(0 <= column < len(self.columns) for column in self.bin_columns):
            raise ValueError("encoding: a bin belongs to a column that does not exist")

    @classmethod
    def fit(cls, columns: tuple[str, ...], rows: NDArray[np.float64], bins: int) -> RowEncoding:
        """Return the encoding that finite training rows ``(N, columns)`` determine.

        A column has at most ``bins`` bins, and fewer if it has few different values. One with at
        most two values has none: its encoding would be the standardized column again.
        """
        constant = rows.max(0) == rows.min(0)
        with np.errstate(all="ignore"):  # the inputs become infinite if a number overflows here
            mean = np.where(constant, rows[0], rows.mean(0))
            centered = rows - mean
            # Relative to the largest value, so that no square overflows or underflows.
            largest = np.where(constant, 1.0, np.abs(centered).max(0))
            spread = largest * np.sqrt(((centered / largest) ** 2).mean(0))
        count = min(bins, MAX_BINS // len(columns))
        found: list[tuple[int, float, float]] = []
        for column, values in enumerate(rows.T):
            if count < 2 or len(np.unique(values)) <= 2:
                continue
            # Existing values as edges: interpolated ones may overflow or coincide.
            edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1), method="nearest"))
            found += [(column, low, high) for low, high in pairwise(edges.tolist())]
        deviation = np.where(constant, 1.0, spread)
        ends = zip(*found, strict=True) if found else ()
        return cls(columns, tuple(mean.tolist()), tuple(deviation.tolist()), *ends)

    @property
    def width(self) -> int:
        """Number of inputs of the network."""
        return len(self.columns) + len(self.bin_columns)

    def __call__(self, rows: NDArray[np.float64]) -> Tensor:
        """Return the inputs ``(N, width, 1, 1)`` float32 of rows ``(N, columns)`` float64.

        Numbers that are too large for float32 become infinite.
        """
        low, high = np.array(self.bin_low), np.array(self.bin_high)
        values = np.clip(rows[:, np.array(self.bin_columns, np.int64)], low, high)
        with np.errstate(all="ignore"):
            standardized = (rows - np.array(self.mean)) / np.array(self.deviation)
            # Halves where the difference of two finite numbers overflows. Not everywhere, because
            # half of the smallest positive number is 0.
            factor = np.where(np.isfinite(high - low), 1.0, 0.5)
            shares = (values * factor - low * factor) / (high * factor - low * factor)
            inputs = np.concatenate([standardized, shares], axis=1).astype(np.float32)
        return torch.from_numpy(inputs)[:, :, None, None]


Encoding: TypeAlias = RowEncoding | WordEncoding
"""How samples of a user become the inputs of a network."""
