"""How samples of a user become the inputs of a network: rows of a table, and texts.

The training split determines the encoding. It is saved with the weights of a network, so that new
samples can be classified without the training data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darts.data.binning import Binning
from darts.data.words import Vocabulary, VocabularyOptions


@dataclass(frozen=True)
class RowEncoding:
    """Standardized columns of a table, and their piecewise linear encoding.

    Attributes:
        columns: Names of the columns.
        mean, deviation: Of each column, in the training rows.
        bin_columns: Index of the column of each bin, see ``darts.data.binning``.
        bin_low, bin_high: Lower and upper end of each bin.

    Raises:
        ValueError: If the lengths differ, or a bin has no column.
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

    @property
    def width(self) -> int:
        """Number of inputs of the network."""
        return len(self.columns) + len(self.bin_columns)

    def __call__(self, rows: NDArray[np.float64]) -> Tensor:
        """Return the inputs ``(N, width, 1, 1)`` float32 of rows ``(N, columns)`` float64.

        Numbers that are too large for float32 become infinite.
        """
        binning = Binning(
            np.array(self.bin_columns, np.int64), np.array(self.bin_low), np.array(self.bin_high)
        )
        with np.errstate(all="ignore"):
            values = (rows - np.array(self.mean)) / np.array(self.deviation)
            standardized = torch.from_numpy(values.astype(np.float32))[:, :, None, None]
        return torch.cat([standardized, binning.encode(rows)], dim=1)


@dataclass(frozen=True)
class WordEncoding:
    """Indices of the words of a text.

    Attributes:
        words: The vocabulary, with the special words first.
        max_length: Words of a text; the rest is cut off.
        lowercase: Whether texts are converted to lower case.
    """

    words: tuple[str, ...]
    max_length: int
    lowercase: bool

    def __call__(self, texts: Iterable[str]) -> Tensor:
        """Return word indices ``(N, L)`` int64; ``<eos>`` and padding follow each text."""
        options = VocabularyOptions(max_length=self.max_length, lowercase=self.lowercase)
        return options.encode(texts, Vocabulary(self.words))


Encoding: TypeAlias = RowEncoding | WordEncoding
