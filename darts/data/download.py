"""Finding, downloading and verifying the published files of a data set."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from darts.data.source import Options, Request
from darts.reading import MIB, one_line, open_regular, read_errors
from darts.writing import WriteError, open_atomically

FILE_LIMIT = 512 * MIB
"""Bytes of a published file and of a download; the largest has 174 MiB."""

_MEMBER_LIMIT = 100  # files in an archive; CIFAR has 8
_TIMEOUT = 30  # seconds without an answer after which a download fails
_CHUNK = MIB


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
        WriteError: If the disk is full or fails.

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
    folder = root if layout.unpack else target
    try:
        for archive in layout.archives:
            file = folder / archive.name
            if not file.is_file() or _md5(file) != archive.md5:
                _fetch(archive, file)
            if layout.unpack:
                _unpack(file, layout, target)
    except WriteError:
        raise
    except Exception as error:  # network or archive: many libraries, many error types
        raise ValueError(f"cannot download {name} ({one_line(error)}): {advice}") from None
    if not all((target / file).is_file() for file in layout.files):
        raise ValueError(f"the download of {name} lacks files: {advice}")


def _fetch(archive: Archive, path: Path) -> None:
    """Download a file; nothing remains of a download that fails or has another checksum."""
    print(f"downloading {archive.url} to {path}", file=sys.stderr)
    digest = hashlib.md5(usedforsecurity=False)
    with (
        urllib.request.urlopen(archive.url, timeout=_TIMEOUT) as response,
        open_atomically(path) as file,
    ):
        while chunk := _receive(response):
            digest.update(chunk)
            file.write(chunk)
            if file.tell() > FILE_LIMIT:
                raise ValueError(f"{archive.url} is larger than {FILE_LIMIT:,} bytes")
        if digest.hexdigest() != archive.md5:
            raise ValueError(f"{archive.url} differs from the published file")


def _receive(response: IO[bytes]) -> bytes:
    try:
        return response.read(_CHUNK)
    except OSError as error:  # would look like an error of the file that is written
        raise ValueError(f"the connection failed: {one_line(error)}") from None


def _unpack(path: Path, layout: Layout, target: Path) -> None:
    """Copy the files of the layout from an archive; ignore its other members, such as links."""
    wanted = {f"{layout.folder}/{name}": target / name for name in layout.files}
    with open_regular(path) as compressed, tarfile.open(fileobj=compressed, mode="r|gz") as archive:
        for number, member in enumerate(archive, 1):
            if number > _MEMBER_LIMIT:
                raise ValueError(f"{path} has more than {_MEMBER_LIMIT} files")
            if member.size > FILE_LIMIT:
                raise ValueError(f"{path} has a file of more than {FILE_LIMIT:,} bytes")
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None and member.name in wanted:
                with open_atomically(wanted[member.name]) as file:
                    shutil.copyfileobj(content, file, _CHUNK)


def _md5(path: Path) -> str:
    """Return the MD5 of the first ``FILE_LIMIT`` bytes of a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with open_regular(path) as file, read_errors(path):
        while file.tell() < FILE_LIMIT and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
    return digest.hexdigest()
