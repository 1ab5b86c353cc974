"""A loaded data set of samples, the request for a data set, and the entries of the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from darts.data.encodings import RowEncoding
from darts.data.images import Images, MemoryImages
from darts.data.targets import CLASSES, TargetScale

Options = TypeVar("Options")


@dataclass(frozen=True, eq=False)
class Source:
    """A data set of samples with one class each, or with other targets.

    Attributes:
        name: Name in the registry.
        classes: Names of the classes, by label; or names of the labels or numbers of a sample.
        train: Training split; ``stratified_split`` divides it into subsets.
        test: Test split, or None.
        valid: Published validation split in addition to the test split, or None.
        mean, std: Mean and standard deviation of each channel, for normalization. Those of uint8
            images refer to pixels that are scaled to [0, 1].
        encoding: How the rows of a table became samples; None for other data.
        scale: How the targets were standardized, if they are numbers.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    test: Images | None
    valid: Images | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoding: RowEncoding | None = None
    scale: TargetScale | None = None


@dataclass(frozen=True)
class Request(Generic[Options]):
    """The arguments of ``darts.data.load``, after its checks.

    ``options`` are the options that only this data set has, an instance of ``SourceSpec.options``.
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
    targets: str = CLASSES

    def folder(self) -> Path:
        """Return the root; raise ValueError if there is none."""
        if self.root is None:
            raise ValueError(f"{self.name}: dataset.root must name the folder of the data set")
        return self.root

    def files(self, *names: str, needed: str = "them") -> list[Path]:
        """Return the paths of files below the root; raise ValueError if one is missing.

        Args:
            names: Names of the files.
            needed: What to put into the root; the error message asks for it.
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
        name: Value of ``dataset.name`` that selects the data set.
        description: One line for lists of data sets.
        read: Function that reads the data set.
        options: Dataclass of the options that only this data set takes, with their defaults.
        kinds: What the samples can be: "images", "rows" of numbers, "audio", "text", "documents"
            with a class, or "pairs" of sentences. Tasks and spaces list the kinds they accept.
        storages: Where the samples can be stored: "memory", "disk" or both.
        own: Whether it is a format of the user's own data, so no paper has a recipe for it.
        targets: Kinds of targets that it can have, see ``darts.data.targets``.
    """

    name: str
    description: str
    read: Callable[[Request[Any]], object]  # each function takes its own class of options
    options: type = NoOptions
    kinds: tuple[str, ...] = ("images",)
    storages: tuple[str, ...] = ("memory",)
    own: bool = False
    targets: tuple[str, ...] = (CLASSES,)


def memory_source(
    name: str,
    classes: tuple[str, ...],
    train: MemoryImages,
    test: MemoryImages | None,
    *,
    size: int | None = None,
    valid: MemoryImages | None = None,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    scale: TargetScale | None = None,
) -> Source:
    """Return a data set in memory, resized to ``size`` by ``size`` pixels unless it is None.

    ``statistics`` are mean and standard deviation by channel; None computes them from ``train``.
    """
    if size is not None:
        train = train.resized(size)
        test = None if test is None else test.resized(size)
        valid = None if valid is None else valid.resized(size)
    mean, std = train.statistics() if statistics is None else statistics
    return Source(name, classes, train, test, valid, mean, std, scale=scale)
