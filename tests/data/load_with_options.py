"""``darts.data.load`` with default options, so that a test sets only those that matter to it."""

from __future__ import annotations

from typing import Any

from darts import data
from darts.data.mel import Spectrogram

VOCABULARY = {"min_count": 2, "max_vocab": 20000, "max_length": 60, "lowercase": False}
PAIRS = {**VOCABULARY, "source": "src", "target": "tgt", "joint": False}
TEXT = {"level": "word"}
SPECTROGRAM = {
    "rate": 16000,
    "mels": 64,
    "window": 25.0,
    "hop": 10.0,
    "seconds": 1.0,
    "scale": "slaney",
}
TEST_SHARE = {"test_share": 0.2, "split_seed": 0}
OPTIONS: dict[str, dict[str, Any]] = {
    "agnews": VOCABULARY,
    "audiofolder": {**SPECTROGRAM, **TEST_SHARE},
    "csv": {"label": None, **TEST_SHARE},
    "documents": {**VOCABULARY, "label": "label", "text": "text"},
    "fsdd": {**SPECTROGRAM, "rate": 8000, "test_speakers": ()},
    "multi30k": PAIRS,
    "pairs": PAIRS,
    "ptb": TEXT,
    "synthetic": {"samples": 256, "classes": 10, "channels": 3},
    "text": TEXT,
}


def load(name: str, **options: Any) -> Any:
    """Load a data set with ``OPTIONS`` where a test gives none."""
    return data.load(name, **{**OPTIONS.get(name, {}), **options})


def augmentation(**options: Any) -> data.Augmentation:
    """Return an augmentation with default options where a test gives none."""
    defaults = {"crop": "pad", "padding": 4, "flip": True, "cutout": 0}
    return data.Augmentation(**{**defaults, **options})


def spectrogram(**options: Any) -> Spectrogram:
    """Return a spectrogram transform with default options where a test gives none."""
    return Spectrogram(**{**SPECTROGRAM, **options})
