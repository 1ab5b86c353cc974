"""Finding, downloading and verifying the published files of a data set."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from darts.data.source import Options, Request


@dataclass(frozen=True)
class Archive:
    """A file to download, with its published MD5."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """File name, the last component of the URL."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Layout:
    """The files of a data set.

    Attributes:
        folder: Folder of the files, relative to the root; "" is the root itself.
        files: Published MD5 by file name.
        archives: What to download: the files themselves, or archives that contain ``folder``.
        unpack: Whether to unpack the archives in the root.
    """

    folder: str
    files: dict[str, str]
    archives: tuple[Archive, ...]
    unpack: bool = False


def find_files(request: Request[Options], layout: Layout) -> Path:
    """Return the folder that contains all files of a data set; download them if necessary.

    The folder is the first of these that contains all files: ``root/folder`` (as in torchvision),
    ``root/name/folder``, ``root/name`` and ``root``, where ``folder`` is that of the layout and
    ``name`` that of the data set. Downloads go to the first.

    Raises:
        ValueError: If files are missing and cannot be downloaded, or if ``request.verify`` is true
            and a checksum differs.

    Warns:
        UserWarning: If ``request.verify`` is false and checksums differ.
    """
    root = request.folder()
    target = root / layout.folder
    candidates = (target, root / request.name / layout.folder, root / request.name, root)
    complete = [p for p in candidates if all((p / name).is_file() for name in layout.files)]
    if complete:
        target = complete[0]
    else:
        missing = [name for name in layout.files if not (target / name).is_file()]
        advice = f"put {', '.join(missing)} into {target}, or set dataset.root to their folder"
        if not request.download:
            raise ValueError(
                f"{request.name}: files are missing and dataset.download=false: {advice}"
            )
        _download(request.name, layout, root, target, advice)
    changed = [name for name, md5 in layout.files.items() if _md5(target / name) != md5]
    if changed and request.verify:
        raise ValueError(
            f"{request.name}: {', '.join(changed)} in {target} differ from the published files: "
            "delete them to download them again, or set dataset.verify=false to use them"
        )
    if changed:
        warnings.warn(
            f"{request.name}: {', '.join(changed)} in {target} differ from the published files; "
            "scores may differ too",
            UserWarning,
            stacklevel=2,
        )
    return target


def _download(name: str, layout: Layout, root: Path, target: Path, advice: str) -> None:
    from torchvision.datasets import utils

    try:
        for archive in layout.archives:
            folder = root if layout.unpack else target
            folder.mkdir(parents=True, exist_ok=True)
            utils.download_url(archive.url, str(folder), archive.name, archive.md5)
            if layout.unpack:
                utils.extract_archive(str(folder / archive.name), str(folder))
    except Exception as error:  # network, disk or archive: many libraries, many error types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot download {name} ({reason}): {advice}") from None
    if not all((target / file).is_file() for file in layout.files):
        raise ValueError(f"the download of {name} lacks files: {advice}")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
