"""From a row of a table, a text or a recording to the input of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from darts.data.audio import spectrograms
from darts.data.encodings import RowEncoding, WordEncoding
from darts.data.mel import Spectrogram
from darts.data.words import PADDING


class Transform(Protocol):
    """The function from a sample to the input of a network, as in the evaluation."""

    def __call__(self, sample: object, /) -> Tensor:
        """Return the input of one sample.

        Raises:
            ValueError: If the sample is of another kind, shape or range.
            OSError: If a file cannot be read.
        """

    def batch(self, inputs: Sequence[Tensor], /) -> Tensor:
        """Return the inputs of several samples as one tensor, as the network takes it."""


@dataclass(frozen=True)
class RowInput:
    """Standardizes and encodes a row of a table.

    A sample is a mapping from the names of the columns to numbers, or a sequence, array or tensor
    of numbers in the order of ``encoding.columns``.
    """

    encoding: RowEncoding

    def __call__(self, sample: object) -> Tensor:
        """Return the input ``(width, 1, 1)`` float of a row."""
        columns = self.encoding.columns
        if isinstance(sample, Mapping):
            missing = [name for name in columns if name not in sample]
            if missing:
                raise ValueError(f"the row has no column {missing[0]!r}")
            sample = [sample[name] for name in columns]
        if isinstance(sample, Tensor):
            sample = sample.detach().cpu().double() if not sample.is_complex() else None
        try:
            row = np.asarray(sample)
            row = row.astype(np.float64, casting="same_kind" if row.dtype.kind != "O" else "unsafe")
        except (TypeError, ValueError, OverflowError):
            raise ValueError("a row must have numbers only") from None
        if row.shape != (len(columns),):
            raise ValueError(f"a row must have {len(columns)} numbers, not the shape {row.shape}")
        encoded = self.encoding(row[None])[0]
        unusable = [
            name
            for name, number, value in zip(columns, row, encoded[:, 0, 0], strict=False)
            if not (np.isfinite(number) and value.isfinite())
        ]
        if unusable:
            raise ValueError(
                f"column {unusable[0]!r}: the number is missing, infinite or too large"
            )
        return encoded

    def batch(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the inputs of several rows, ``(B, width, 1, 1)``."""
        return torch.stack(list(inputs))


@dataclass(frozen=True)
class TextInput:
    """Turns a text, a string, into the indices of its words.

    Attributes:
        encoding: Vocabulary and limits.
        column: Name of the column of texts in tables.
    """

    encoding: WordEncoding
    column: str = "text"

    def __call__(self, sample: object) -> Tensor:
        """Return the indices ``(L,)`` int64 of a text."""
        if not isinstance(sample, str):
            raise ValueError(f"a text must be a string, not {type(sample).__name__}")
        return self.encoding([sample])[0]

    def batch(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the padded indices of several texts, ``(L, B)``."""
        return torch.nn.utils.rnn.pad_sequence(list(inputs), padding_value=PADDING)


class RecordingInput:
    """Turns a recording, an audio file, into a normalized spectrogram.

    Args:
        spectrogram: The transform of the training.
        mean, std: Of the training spectrograms, one number each.
    """

    def __init__(
        self, spectrogram: Spectrogram, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        self.spectrogram = spectrogram
        self._mean, self._std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def __call__(self, sample: object) -> Tensor:
        """Return the input ``(1, bands, frames)`` float of a recording."""
        if not isinstance(sample, str | Path):
            raise ValueError(f"a recording must be a file name, not {type(sample).__name__}")
        normalized: Tensor = (spectrograms([sample], self.spectrogram)[0] - self._mean) / self._std
        return normalized

    def batch(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the inputs of several recordings, ``(B, 1, bands, frames)``."""
        return torch.stack(list(inputs))
