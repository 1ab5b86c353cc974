"""A loaded data set of samples, the request for a data set, and the entries of the registry."""

from __future__ import annotations

import logging
import tarfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, hub

from darts.data.columns import Description
from darts.data.encodings import RowEncoding
from darts.data.images import Images, MemoryImages
from darts.data.split import Groups
from darts.data.targets import CLASSES, TargetScale
from darts.reading import one_line

_LOGGER = logging.getLogger("darts")

Options = TypeVar("Options")


class LabeledSplit(Protocol):
    """A split of a data set with a target per sample."""

    @property
    def labels(self) -> Tensor:
        """The targets, see ``darts.data.targets``."""


Split = TypeVar("Split", bound=LabeledSplit)


@dataclass(frozen=True, eq=False)
class LabeledSource(Generic[Split]):
    """A data set with a target per sample.

    Attributes:
        name: Name in the registry.
        classes: Names of the classes, by label; or names of the labels or numbers of a sample.
        train, test, valid: The splits; None if the data set has none. ``valid`` is a published
            validation split.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split | None
    valid: Split | None


@dataclass(frozen=True, eq=False)
class Source(LabeledSource[Images]):
    """A data set of images, rows or spectrograms.

    Attributes:
        mean, std: Mean and standard deviation of each channel, for normalization. For uint8 images
            they refer to pixels that are scaled to [0, 1].
        encoding: How the rows of a table became samples; None for other data.
        columns: What the columns of a table contain.
        scale: How the targets were standardized, if they are numbers.
        groups: Groups of training samples that no split divides; None if there are none.
        unlabeled: Test samples without targets, ``(N, C, H, W)``, not resized; ``darts find``
            predicts their targets. None if there are none.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoding: RowEncoding | None = None
    columns: tuple[Description, ...] = ()
    scale: TargetScale | None = None
    groups: Groups | None = None
    unlabeled: Tensor | None = None


@dataclass(frozen=True)
class InputSpec:
    """One input tensor of a network, as an export needs it.

    Attributes:
        name: Name of the input.
        shape: Shape of an example tensor.
        dynamic_axes: Name of each axis of variable length, by the index of the axis.
        num_tokens: Token indices are below this number; None for float tensors. The indices of an
            example start at 1, because 0 may be padding.
        mean, std: As in ``Source``; None if the input is not normalized.
        full_scale: Number that stands for 1.0 in ``mean`` and ``std``, see ``MemoryImages``.
    """

    name: str
    shape: tuple[int, ...]
    dynamic_axes: Mapping[int, str]
    num_tokens: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    full_scale: int = 255


@dataclass(frozen=True)
class Layout:
    """The files of a published data set.

    Attributes:
        folder: Folder of the files, relative to the root; "" is the root itself.
        files: Published MD5 by file name.
        downloads: Published MD5 by URL: the files themselves, or archives that contain ``folder``.
        unpack: Whether to unpack the downloads in the root.
    """

    folder: str
    files: dict[str, str]
    downloads: dict[str, str]
    unpack: bool = False


@dataclass(frozen=True)
class Request(Generic[Options]):
    """What to load, and how.

    Attributes:
        name: Name of the data set.
        options: Options that only this data set has, an instance of ``SourceSpec.options``.
        kind: One of the kinds of samples of the data set, see ``SourceSpec``.
        root: Folder of the files, or a file for ``csv``; None for data sets without files.
        download: Whether to download missing files, where the publisher offers them.
        verify: Whether a file that differs from the published checksum is an error; otherwise it
            causes a warning.
        size: Side of the images in pixels; None for the default of the data set.
        storage: Where to keep the samples: "memory", "disk", or "auto" to choose by their size.
        seed: Seed of the ``synthetic`` images; other data sets do not depend on it.
        targets: What each sample has, see ``darts.data.targets``.
    """

    name: str
    options: Options
    kind: str
    root: Path | None = None
    download: bool = True
    verify: bool = True
    size: int | None = None
    storage: str = "auto"
    seed: int = 0
    targets: str = CLASSES

    def folder(self) -> Path:
        """Return the root; raise ValueError if there is none."""
        if self.root is None:
            raise ValueError(f"{self.name}: dataset.root must name the folder of the data set")
        return self.root

    def files(self, *names: str, needed: str = "them") -> list[Path]:
        """Return the paths of files below the root; raise ValueError if one is missing.

        ``needed`` is what the error message asks the user to put into the root.
        """
        root = self.folder()
        missing = [name for name in names if not (root / name).is_file()]
        if missing:
            raise ValueError(
                f"{self.name}: {', '.join(missing)} not in {root}: put {needed} there, or set "
                "dataset.root to their folder"
            )
        return [root / name for name in names]

    def published(self, layout: Layout) -> Path:
        """Return the folder that contains all files of a layout; download them if necessary.

        The folder is the first of these that contains all files: ``root/folder`` (as in
        torchvision), ``root/name/folder``, ``root/name`` and ``root``, where ``folder`` is the
        folder of the layout and ``name`` the data set. Downloads go to the first.
        """
        from torchvision.datasets.utils import check_integrity

        root = self.folder()
        target = root / layout.folder
        candidates = (target, root / self.name / layout.folder, root / self.name, root)
        complete = [p for p in candidates if all((p / name).is_file() for name in layout.files)]
        if complete:
            target = complete[0]
        else:
            missing = [name for name in layout.files if not (target / name).is_file()]
            advice = f"put {', '.join(missing)} into {target}, or set dataset.root to their folder"
            if not self.download:
                raise ValueError(
                    f"{self.name}: files are missing and dataset.download=false: {advice}"
                )
            try:
                _download(layout, root)
            except Exception as error:  # network, archive or disk: many libraries and error types
                raise ValueError(
                    f"cannot download {self.name} ({one_line(error)}): {advice}"
                ) from None
        files = layout.files.items()
        changed = [name for name, md5 in files if not check_integrity(str(target / name), md5)]
        differ = f"{self.name}: {', '.join(changed)} in {target} differ from the published files"
        if changed and self.verify:
            raise ValueError(
                f"{differ}: delete them to download them again, or set dataset.verify=false to use "
                "them"
            )
        if changed:
            warnings.warn(f"{differ}; scores may differ too", UserWarning, stacklevel=2)
        return target


def _download(layout: Layout, root: Path) -> None:
    from torchvision.datasets.utils import check_integrity

    folder = root if layout.unpack else root / layout.folder
    folder.mkdir(parents=True, exist_ok=True)
    for url, md5 in layout.downloads.items():
        file = folder / url.rsplit("/", 1)[1]
        if not check_integrity(str(file), md5):
            _LOGGER.info("downloading %s to %s", url, file)
            hub.download_url_to_file(url, str(file), progress=False)
        if not check_integrity(str(file), md5):
            file.unlink()
            raise ValueError(f"{url} differs from the published file")
        if layout.unpack:
            with tarfile.open(file) as archive:
                archive.extractall(root, filter="data")


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
    test: MemoryImages | None = None,
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
