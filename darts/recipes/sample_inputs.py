"""From a sample to the input of a network: images, rows of a table, texts and recordings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from darts.data.audio import spectrograms
from darts.data.columns import CellError
from darts.data.decode import center_crop, decode, read_rgb
from darts.data.encodings import RowEncoding
from darts.data.images import resize
from darts.data.mel import Spectrogram
from darts.data.words import PADDING, WordEncoding

# A file name, a PIL image, or an array or tensor: uint8 or float from 0 to 1, of shape `(H, W)`
# or `(C, H, W)`, or `(C, L)` for a sequence; arrays also `(H, W, C)`, for the C of the network.
# For networks that were trained on numbers, an array or tensor of any finite numbers.
Image: TypeAlias = object


class Transform(ABC):
    """The function from a sample to the input of a network, as in the evaluation.

    It raises a ``ValueError`` for a sample of another kind, shape or range.
    """

    @abstractmethod
    def __call__(self, sample: object) -> Tensor:
        """Return the input of one sample."""

    def batch(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the inputs of several samples, with a batch axis in front."""
        return torch.stack(list(inputs))


@dataclass(frozen=True)
class Preprocessing(Transform):
    """The function from an image to the input of a network, as in training without augmentation.

    Attributes:
        shape: Channels, height and width of the input.
        mean, std: By channel, in units of ``full_scale``.
        margin: For networks that are trained on image files: shorter side before the center crop,
            divided by the size. None: images are resized without cropping.
        full_scale: 255 for pixels of type uint8; 1 for numbers.
    """

    shape: tuple[int, int, int]
    mean: Sequence[float]
    std: Sequence[float]
    margin: float | None = None
    full_scale: int = 255

    def __call__(self, image: Image) -> Tensor:
        """Return the input ``(C, H, W)`` float of one image.

        If the network was trained on image files, its shorter side is resized, and its center is
        cropped. Otherwise it is resized, even if that changes its aspect ratio. An array or tensor
        of the right size stays as it is.

        Raises:
            ValueError: If the image has another number of channels, or is not an image.
            OSError: If a file cannot be read.
        """
        from PIL import Image as pillow

        channels, height, width = self.shape
        if self.margin is not None and isinstance(image, str | Path):
            pixels = decode(str(image), height, self.margin)
        elif self.margin is not None and isinstance(image, pillow.Image):
            pixels = center_crop(image, height, self.margin)
        else:
            pixels = self._pixels(image)
            if pixels.shape[1:] != (height, width):
                if self.margin is None or channels != 3:
                    pixels = resize(pixels[None], height, width)[0]
                else:
                    picture = pillow.fromarray(pixels.permute(1, 2, 0).numpy())
                    pixels = center_crop(picture, height, self.margin)
        return _normalized(pixels.float() / self.full_scale, self.mean, self.std)

    def _pixels(self, image: Image) -> Tensor:
        """Return an image as ``(C, H, W)`` uint8, or float32 for networks of numbers."""
        from PIL import Image as pillow

        if self.full_scale == 1 and isinstance(image, str | Path | pillow.Image):
            raise ValueError("the network takes arrays of numbers, not pictures")
        if isinstance(image, str | Path):
            return self._pixels(read_rgb(str(image)))
        if isinstance(image, pillow.Image):
            image = np.array(image.convert("L" if self.shape[0] == 1 else "RGB"))
        is_tensor, channels = isinstance(image, Tensor), self.shape[0]
        try:
            pixels = image.cpu() if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        except TypeError:
            kind = type(image).__name__
            raise ValueError(f"an image must be a file, an array or a tensor, not {kind}") from None
        shape = tuple(pixels.shape)
        if pixels.ndim == 2:
            pixels = pixels[:, None] if self.shape[1] == 1 else pixels[None]
        elif pixels.ndim == 3 and not is_tensor and shape[0] != channels and shape[2] == channels:
            pixels = pixels.permute(2, 0, 1)
        if pixels.ndim != 3 or pixels.shape[0] != channels or not pixels.numel():
            raise ValueError(f"an image of shape {shape} does not have {channels} channels")
        if self.full_scale == 1:
            if pixels.is_complex() or not pixels.float().isfinite().all():
                raise ValueError("an array must have finite numbers only")
            return pixels.float()
        if pixels.is_floating_point():
            if not (float(pixels.min()) >= 0 and float(pixels.max()) <= 1):  # also for NaN
                raise ValueError("an image of floats must have values from 0 to 1")
            pixels = (pixels * 255).round()
        elif pixels.dtype != torch.uint8:
            raise ValueError(f"an image must be uint8, or float from 0 to 1, not {pixels.dtype}")
        return pixels.to(torch.uint8)


@dataclass(frozen=True, eq=False)
class EncodedRow:
    """A row of a file that is encoded already, ``(width, 1, 1)`` float."""

    inputs: Tensor


@dataclass(frozen=True)
class RowInput(Transform):
    """Encodes a row of a table.

    A sample is a mapping from the names of columns to values, or a sequence, array or tensor of
    values in the order of ``encoding.columns``. A value is a number, a text or a date; None or NaN
    stand for a missing one. Other columns of a mapping have no effect.
    """

    encoding: RowEncoding

    def __call__(self, sample: object) -> Tensor:
        """Return the input ``(width, 1, 1)`` float of a row."""
        if isinstance(sample, EncodedRow):
            return sample.inputs
        columns = self.encoding.columns
        if isinstance(sample, Tensor):
            sample = sample.detach().cpu().numpy()
        if isinstance(sample, np.ndarray):
            sample = sample.tolist()
        if isinstance(sample, Sequence) and not isinstance(sample, str):
            if len(sample) != len(columns):
                raise ValueError(f"a row must have {len(columns)} values, not {len(sample)}")
            sample = {column.name: value for column, value in zip(columns, sample, strict=True)}
        if not isinstance(sample, Mapping):
            raise ValueError(f"a row must be a mapping or a sequence, not {type(sample).__name__}")
        missing = [name for name in self.encoding.names if name not in sample]
        if missing:
            raise ValueError(f"the row has no column {missing[0]!r}")
        try:
            return self.encoding([[c.cell_of(sample[c.name])] for c in self.encoding.used])[0]
        except CellError as error:
            raise ValueError(f"column {error.column!r}: {error}") from None


@dataclass(frozen=True)
class TextInput(Transform):
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


@dataclass(frozen=True)
class RecordingInput(Transform):
    """Turns a recording, an audio file, into a normalized spectrogram.

    Attributes:
        spectrogram: The transform of the training.
        mean, std: Of the training spectrograms, one number each.
    """

    spectrogram: Spectrogram
    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, sample: object) -> Tensor:
        """Return the input ``(1, bands, frames)`` float of a recording."""
        if not isinstance(sample, str | Path):
            raise ValueError(f"a recording must be a file name, not {type(sample).__name__}")
        return _normalized(spectrograms([sample], self.spectrogram)[0], self.mean, self.std)


def _normalized(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalize each channel of ``(C, H, W)``."""
    center, spread = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (mean, std))
    return (values - center) / spread
