"""Find the published files of a data set, download them, and check them."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from darts.data.source import Query

__all__ = ["Archive", "Layout", "find"]


@dataclass(frozen=True)
class Archive:
    """One file to download, and its MD5 as published."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """File name, the last part of the address."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set lie.

    Attributes:
        folder: of the files, relative to the root; "" is the root itself.
        files: MD5 by file name, as published.
        archives: what to download: the files themselves, or archives that hold `folder`.
        unpack: whether the archives are to be unpacked, in the root.
    """

    folder: str
    files: dict[str, str]
    archives: tuple[Archive, ...]
    unpack: bool = False

    def described(self) -> tuple[str, ...]:
        """The files, each with its folder."""
        return tuple(f"{self.folder}/{name}" if self.folder else name for name in self.files)


def find(query: Query, layout: Layout) -> Path:
    """The folder that holds every file of the data set, downloaded if need be.

    The files may lie where torchvision puts them, in the same place below a folder named after the
    data set, or in the root itself.

    Raises:
        ValueError: in one line, if files are missing and may not or cannot be downloaded, or if
            one has another checksum and `query.verify` is set.

    Warns:
        UserWarning: once, if checksums differ and `query.verify` is off.
    """
    root = query.folder()
    target = root / layout.folder
    places = (target, root / query.name / layout.folder, root / query.name, root)
    complete = [p for p in places if all((p / name).is_file() for name in layout.files)]
    if complete:
        target = complete[0]
    else:
        missing = [name for name in layout.files if not (target / name).is_file()]
        advice = f"put {', '.join(missing)} into {target}, or set dataset.root to where they are"
        if not query.download:
            raise ValueError(f"{query.name} is not there and dataset.download is off: {advice}")
        _download(query, layout, root, target, advice)
    changed = [name for name, md5 in layout.files.items() if _md5(target / name) != md5]
    if changed and query.verify:
        raise ValueError(
            f"{query.name}: {', '.join(changed)} in {target} differ from the published files: "
            "delete them to download them again, or set dataset.verify=false to use them"
        )
    if changed:
        warnings.warn(
            f"{query.name}: {', '.join(changed)} in {target} differ from the published files; "
            "scores may differ too",
            UserWarning,
            stacklevel=2,
        )
    return target


def _download(query: Query, layout: Layout, root: Path, target: Path, advice: str) -> None:
    from torchvision.datasets import utils

    try:
        for archive in layout.archives:
            where = root if layout.unpack else target
            where.mkdir(parents=True, exist_ok=True)
            utils.download_url(archive.url, str(where), archive.name, archive.md5)
            if layout.unpack:
                utils.extract_archive(str(where / archive.name), str(where))
    except Exception as error:  # the network, the disk, the archive: many libraries, many errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot download {query.name} ({reason}): {advice}") from None
    if not all((target / name).is_file() for name in layout.files):
        raise ValueError(f"the download of {query.name} lacks files: {advice}")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
