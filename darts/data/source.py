"""A loaded data set of samples, and the request for a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from darts.data.images import Images, MemoryImages

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
        mean, std: normalization by channel: of images with pixels in [0, 1], or of float samples.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    test: Images | None
    valid: Images | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Request(Generic[Options]):
    """The arguments of ``darts.data.load``, after its checks.

    ``options`` are those that only this data set has, an instance of ``SourceSpec.options``.
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
        """Return the root; raise ValueError if there is none."""
        if self.root is None:
            raise ValueError(f"{self.name}: dataset.root must name the folder of the data set")
        return self.root

    def files(self, *names: str, needed: str = "them") -> list[Path]:
        """Return the paths of files below the root; raise ValueError if one is missing.

        Args:
            names: names of the files.
            needed: what to put into the root if one is missing, for the error.
        """
        root = self.folder()
        missing = [name for name in names if not (root / name).is_file()]
        if missing:
            raise ValueError(
                f"{self.name}: {', '.join(missing)} not in {root}: put {needed} there, or set "
                "dataset.root to their folder"
            )
        return [root / name for name in names]


@dataclass
class NoOptions:
    """Options of a data set that has none."""


@dataclass(frozen=True)
class SourceSpec:
    """An entry of the registry of data sets.

    Attributes:
        loader: function that reads the data set.
        options: dataclass of the options that only this data set takes, with their defaults.
        kinds: what the samples can be: "images", "rows" of numbers, "audio", "text", "documents"
            with a class, or "pairs" of sentences. Tasks and spaces list the kinds they accept.
        storages: "memory", "disk" or both.
    """

    name: str
    description: str
    loader: Callable[[Request[Any]], object]  # each loader takes its own class of options
    options: type = NoOptions
    kinds: tuple[str, ...] = ("images",)
    storages: tuple[str, ...] = ("memory",)


def memory_source(
    name: str,
    classes: tuple[str, ...],
    train: MemoryImages,
    test: MemoryImages | None,
    *,
    size: int | None = None,
    valid: MemoryImages | None = None,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Source:
    """Return a data set in memory, resized to ``size`` by ``size`` pixels unless it is None.

    ``statistics`` are mean and standard deviation by channel; None computes them from ``train``.
    """
    if size is not None:
        train = train.resized(size)
        test = None if test is None else test.resized(size)
        valid = None if valid is None else valid.resized(size)
    mean, std = train.statistics() if statistics is None else statistics
    return Source(name, classes, train, test, valid, mean, std)
