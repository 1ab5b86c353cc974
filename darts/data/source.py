"""A loaded data set of samples, and the request for a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from darts.data.images import Images, MemoryImages

__all__ = ["Request", "Source", "SourceSpec", "memory_source"]

Options = TypeVar("Options")


@dataclass(frozen=True, eq=False)
class Source:
    """A data set of samples with one class each.

    Attributes:
        name: name in the registry.
        classes: names of the classes, by label.
        train: training split; divide it with ``stratified_split``.
        test: test split, or None.
        valid: published validation split in addition to the test split, or None.
        mean, std: normalization by channel, in units of [0, 1].
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
class Request(Generic[Options]):
    """The arguments of ``darts.data.load``, which checks them.

    ``options`` are those of the data set alone, an instance of ``SourceSpec.options``.
    """

    name: str
    root: Path | None
    download: bool
    verify: bool
    size: int | None
    storage: str
    seed: int
    kind: str
    options: Options

    def folder(self) -> Path:
        """Return the root of a data set that requires one.

        Raises:
            ValueError: if there is none.
        """
        if self.root is None:
            raise ValueError(f"{self.name}: dataset.root must name the folder of the data set")
        return self.root

    def refuse_size(self, sample: str) -> None:
        """Raise ValueError if a size in pixels is set for samples that are no images."""
        if self.size is not None:
            raise ValueError(
                f"{self.name}: size={self.size}: a {sample} has no size in pixels; leave size out"
            )


@dataclass(frozen=True)
class NoOptions:
    """Options of a data set that has none."""


@dataclass(frozen=True)
class SourceSpec:
    """An entry of the registry of data sets.

    Attributes:
        name: name of the data set.
        description: one line.
        loader: function that reads the data set.
        files: files below the root; empty if it needs none.
        storages: "memory", "disk" or both.
        options: dataclass of the options that only this data set takes.
        kinds: what the samples can be: "images", "rows" of numbers, "audio", "text", "documents"
            with a class, or "pairs" of sentences. Tasks and spaces list the kinds they accept.
    """

    name: str
    description: str
    loader: Callable[[Request[Any]], object]  # each loader takes its own class of options
    files: tuple[str, ...] = ()
    storages: tuple[str, ...] = ("memory",)
    options: type = NoOptions
    kinds: tuple[str, ...] = ("images",)


def memory_source(
    name: str,
    classes: tuple[str, ...],
    train: MemoryImages,
    test: MemoryImages | None,
    *,
    size: int | None,
    valid: MemoryImages | None = None,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Source:
    """Return a data set in memory.

    Args:
        name: name in the registry.
        classes: names of the classes, by label.
        train, test, valid: the splits.
        size: side in pixels to resize all images to; None keeps them.
        statistics: mean and standard deviation by channel; None computes them from ``train``.
    """
    if size is not None:
        train = train.resized(size)
        test = None if test is None else test.resized(size)
        valid = None if valid is None else valid.resized(size)
    mean, std = train.statistics() if statistics is None else statistics
    return Source(name, classes, train, test, valid, mean, std)
