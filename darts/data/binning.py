"""Piecewise linear encoding of the columns of a table.

A network that reads standardized columns learns smooth functions of a column far more easily than
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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_FEATURES = 4096
"""Largest number of encoded features of a table; wider tables get fewer bins per column."""


@dataclass(frozen=True)
class Binning:
    """The bins of each column.

    Attributes:
        columns: Column of each bin, ``(width,)`` int64.
        low: Lower end of each bin, ``(width,)`` float64.
        high: Upper end of each bin, above ``low``.
    """

    columns: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def fit(cls, rows: NDArray[np.float64], bins: int) -> Binning:
        """Divide the columns of the training rows at their quantiles.

        A column with few different values has fewer bins. One with at most two values has none: its
        encoding would be the standardized column again.

        Args:
            rows: ``(N, F)``, finite.
            bins: Largest number of bins of a column.
        """
        count = min(bins, MAX_FEATURES // max(rows.shape[1], 1))
        columns, low, high = [], [], []
        for column, values in enumerate(rows.T):
            different = np.unique(values)
            if count < 2 or len(different) <= 2:
                continue
            # Existing values as edges: interpolated ones may overflow or coincide.
            edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1), method="nearest"))
            columns += [column] * (len(edges) - 1)
            low += edges[:-1].tolist()
            high += edges[1:].tolist()
        return cls(np.array(columns, np.int64), np.array(low), np.array(high))

    @property
    def width(self) -> int:
        """Number of bins of all columns."""
        return len(self.columns)

    def encode(self, rows: NDArray[np.float64]) -> Tensor:
        """Return the encoding of ``(N, F)`` rows, ``(N, width, 1, 1)`` float32 from 0 to 1."""
        values = np.clip(rows[:, self.columns], self.low, self.high)
        # Halves where the difference of two finite numbers overflows. Not everywhere, because half
        # of the smallest positive number is 0.
        with np.errstate(over="ignore"):
            factor = np.where(np.isfinite(self.high - self.low), 1.0, 0.5)
        low, high = self.low * factor, self.high * factor
        shares = (values * factor - low) / (high - low)
        return torch.from_numpy(shares.astype(np.float32))[:, :, None, None]
