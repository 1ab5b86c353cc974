"""What a data set is once it is loaded, and what a loader is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darts.data.images import Images, MemoryImages

__all__ = ["Query", "Source", "SourceSpec", "memory_source"]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set.

    Attributes:
        name: in the registry.
        classes: their names, by label.
        train: everything that may be trained on or chosen by; cut it with `stratified_split`.
        test: the test split, or None if there is none.
        valid: a validation split of the publisher's own beside the test split, else None.
        mean, std: by channel, in units of [0, 1]; what batches are normalized by.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    test: Images | None
    valid: Images | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.train.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        return self.train.shape[1], self.train.shape[2]


@dataclass(frozen=True)
class Query:
    """How a data set is wanted; `darts.data.load` explains and checks the fields."""

    name: str
    root: Path | None
    download: bool = True
    verify: bool = True
    size: int | None = None
    storage: str = "auto"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "images"

    def folder(self) -> Path:
        """The root, which this data set cannot do without.

        Raises:
            ValueError: if none was given.
        """
        if self.root is None:
            raise ValueError(f"{self.name}: dataset.root must name the folder of the data set")
        return self.root


@dataclass(frozen=True)
class SourceSpec:
    """An entry of the registry.

    Attributes:
        name: by which it is loaded.
        description: one line.
        loader: reads it.
        files: what it needs under its root; empty if it needs none.
        storages: "memory", "disk" or both.
        options: names of the options that only this set takes.
        kinds: what its samples can be: "images", "rows" of numbers, "audio", "text", "documents"
            with a class, or "pairs" of sentences. Tasks say what they learn from, spaces what their
            networks take.
    """

    name: str
    description: str
    loader: Callable[[Query], Any]
    files: tuple[str, ...] = ()
    storages: tuple[str, ...] = ("memory",)
    options: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("images",)


def memory_source(
    name: str,
    classes: tuple[str, ...],
    train: MemoryImages,
    test: MemoryImages | None,
    *,
    size: int | None,
    valid: MemoryImages | None = None,
    constants: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Source:
    """Resize the splits if asked, and take mean and deviation from `constants` or from `train`."""
    if size is not None:
        train = train.resized(size)
        test = None if test is None else test.resized(size)
        valid = None if valid is None else valid.resized(size)
    mean, std = train.statistics() if constants is None else constants
    return Source(name, classes, train, test, valid, mean, std)
