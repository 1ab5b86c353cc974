"""Finding, downloading and verifying the published files of a data set."""

from __future__ import annotations

import hashlib
import sys
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from torch import hub

from darts.data.source import Options, Request
from darts.reading import MIB, one_line, open_regular, read_errors


@dataclass(frozen=True)
class Layout:
    """The files of a data set.

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
    changed = [name for name, md5 in layout.files.items() if not _has_md5(target / name, md5)]
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
    folder = root if layout.unpack else target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for url, md5 in layout.downloads.items():
            file = folder / url.rsplit("/", 1)[1]
            if not _has_md5(file, md5):
                print(f"downloading {url} to {file}", file=sys.stderr)
                hub.download_url_to_file(url, str(file), progress=False)
            if not _has_md5(file, md5):
                file.unlink()
                raise ValueError(f"{url} differs from the published file")
            if layout.unpack:
                with tarfile.open(file) as archive:
                    archive.extractall(root, filter="data")
    except Exception as error:  # network, archive or disk: many libraries, many error types
        raise ValueError(f"cannot download {name} ({one_line(error)}): {advice}") from None
    if not all((target / file).is_file() for file in layout.files):
        raise ValueError(f"the download of {name} lacks files: {advice}")


def _has_md5(path: Path, md5: str) -> bool:
    if not path.is_file():
        return False
    digest = hashlib.md5(usedforsecurity=False)
    with open_regular(path) as file, read_errors(path):
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.hexdigest() == md5
