"""Configuration of the data sets: the group ``dataset``, one class per format.

``darts.data`` declares the options that determine the samples; the classes here add the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from darts.config.fields import MISSING
from darts.data.arrays import ArrayOptions
from darts.data.corpus import CorpusOptions
from darts.data.documents import DocumentOptions
from darts.data.images import MIN_SIDE
from darts.data.mel import SpectrogramOptions
from darts.data.pairs import PairOptions
from darts.data.spec_augment import SpecAugment
from darts.data.split import HoldOutOptions
from darts.data.synthetic import SyntheticOptions
from darts.data.tables import TableOptions
from darts.data.words import VocabularyOptions
from darts.registry import choice, number


@dataclass
class DatasetConfig:
    """Options of every data set."""

    name: str = MISSING
    root: str = "data"  # folder of the files; downloads are stored there
    subset: int | None = number(None, low=2)  # number of training samples to use, stratified


@dataclass
class ImagesConfig(DatasetConfig):
    """Images and their augmentation."""

    download: bool = True
    verify: bool = True  # false: accept files whose checksum differs, with a warning
    size: int | None = number(None, low=MIN_SIDE, high=4096)  # side in pixels after resizing
    storage: str = choice("auto", "auto", "memory", "disk")  # disk: decode files in each epoch
    crop: str = choice("pad", "pad", "resized", "none")  # resized: a random box, resized to `size`
    padding: int = number(4, low=0, high=64)  # zeros on each side; crop=pad only
    flip: bool = True
    # Random colors: brightness, contrast, saturation and hue, see color_factors; [] for none.
    color_jitter: list[float] = number([], low=0, high=10)


@dataclass
class ArraysConfig(ArrayOptions, ImagesConfig):
    """Images, sequences or other numbers in .npz or .npy files."""


@dataclass
class SyntheticConfig(SyntheticOptions, ImagesConfig):
    """Generated images for tests."""


@dataclass
class TableConfig(TableOptions, DatasetConfig):
    """Rows of numbers; the root is a CSV file, or a folder with train.csv."""


@dataclass
class TextConfig(CorpusOptions, DatasetConfig):
    """Text as one sequence of tokens; `subset` counts its first tokens."""


@dataclass
class PublishedTextConfig(TextConfig):
    """A published text that can be downloaded."""

    download: bool = True
    verify: bool = True  # false: accept files whose checksum differs, with a warning


@dataclass
class SentencesConfig(VocabularyOptions, DatasetConfig):
    """Sentences and their vocabulary."""


@dataclass
class DocumentsConfig(DocumentOptions, SentencesConfig):
    """CSV files with a column of texts and a column of classes."""


@dataclass
class PairsConfig(PairOptions, SentencesConfig):
    """Sentence pairs: two files per split, one sentence per line."""


@dataclass
class AudioOptions(SpecAugment, SpectrogramOptions, DatasetConfig):
    """Recordings, their mel spectrograms, and the augmentation of the spectrograms."""


@dataclass
class SpokenDigitsConfig(AudioOptions):
    """The Free Spoken Digit Dataset."""

    # Speakers whose recordings are the test split; empty: the published test split.
    test_speakers: list[str] = field(default_factory=list)


@dataclass
class AudioFolderConfig(HoldOutOptions, AudioOptions):
    """Recordings in one folder per class."""
