"""Configuration of the data sets: the group ``dataset``, one class per format."""

from __future__ import annotations

from dataclasses import dataclass, field

from darts.config.fields import MISSING
from darts.registry import choice, number


@dataclass
class DatasetConfig:
    """What every data set has."""

    name: str = MISSING
    root: str = "data"  # folder of the files; downloads are stored there
    subset: int | None = number(None, low=2)  # number of training samples to use, stratified


@dataclass
class ImagesConfig(DatasetConfig):
    """Images and their augmentation."""

    download: bool = True
    verify: bool = True  # false: accept files whose checksum differs, with a warning
    size: int | None = number(None, low=8, high=4096)  # side in pixels after resizing
    storage: str = choice("auto", "auto", "memory", "disk")
    crop: str = choice("pad", "pad", "resized", "none")
    padding: int = number(4, low=0, high=64)
    flip: bool = True


@dataclass
class SyntheticConfig(ImagesConfig):
    """Generated images for tests."""

    samples: int = number(256, low=4)
    classes: int = number(10, low=2)
    channels: int = number(3, low=1)


@dataclass
class TableConfig(DatasetConfig):
    """Rows of numbers; the root is a CSV file, or a folder with train.csv."""

    label: str | None = None  # column of the classes; null: the last column
    test_share: float = number(0.2, above=0, below=1)  # test split if there is no test.csv
    split_seed: int = number(0, low=0, high=2**62)  # of the test split; independent of `seed`


@dataclass
class TextConfig(DatasetConfig):
    """Text as one sequence of tokens; `subset` counts its first tokens."""

    level: str = choice("word", "word", "char")  # what a token is


@dataclass
class PublishedTextConfig(TextConfig):
    """A published text that can be downloaded."""

    download: bool = True
    verify: bool = True  # false: accept files whose checksum differs, with a warning


@dataclass
class SentencesConfig(DatasetConfig):
    """Sentences and their vocabulary."""

    min_count: int = number(2, low=1)  # occurrences in the training split that a word needs
    max_vocab: int = number(20000, low=1)  # words of a vocabulary
    max_length: int = number(60, low=1, high=1000)  # words of a sentence; the rest is cut off
    lowercase: bool = False  # convert capitals to small letters


@dataclass
class DocumentsConfig(SentencesConfig):
    """CSV files with a column of texts and a column of classes."""

    label: str = "label"
    text: str = "text"


@dataclass
class PairsConfig(SentencesConfig):
    """Sentence pairs: two files per split, one sentence per line."""

    source: str = "src"  # file extension of the input sentences, for example de
    target: str = "tgt"  # file extension of the output sentences, for example en
    joint: bool = False  # one vocabulary for both sides


@dataclass
class AudioConfig(DatasetConfig):
    """Recordings, their mel spectrograms and the augmentation of these."""

    rate: int = number(16000, low=1000, high=1_000_000)  # Hz; other rates are resampled
    mels: int = number(64, low=8, high=1024)  # frequency bands: the height of an image
    window: float = number(25.0, above=0, high=10_000)  # milliseconds
    hop: float = number(10.0, above=0, high=10_000)  # milliseconds between two frames
    seconds: float = number(1.0, above=0, high=3600)  # recordings are padded or cropped to this
    scale: str = choice("slaney", "slaney", "htk")  # definition of the mel scale
    frequency_masks: int = number(2, low=0, high=100)
    frequency_width: int = number(8, low=0)  # largest width of a mask in bands
    time_masks: int = number(2, low=0, high=100)
    time_width: int = number(8, low=0)  # largest width of a mask in frames
    shift: int = number(4, low=0)  # largest shift in frames, in both directions


@dataclass
class SpokenDigitsConfig(AudioConfig):
    """The Free Spoken Digit Dataset."""

    # Speakers whose recordings are the test split; empty: the published test split.
    test_speakers: list[str] = field(default_factory=list)


@dataclass
class AudioFolderConfig(AudioConfig):
    """WAV files in one folder per class."""

    test_share: float = number(0.2, above=0, below=1)  # test split if there is no test folder
    split_seed: int = number(0, low=0, high=2**62)  # of the test split; independent of `seed`
