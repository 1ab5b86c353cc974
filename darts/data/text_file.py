"""Reading of text line by line, within limits: a file may be untrusted."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from darts.reading import FileError, open_regular

# Bytes of a text file. The numbers made from a text take up to eight times as much memory, the
# cells of a table up to thirteen times.
TEXT_LIMIT = 2 * 2**30
# Characters of a line.
LINE_LIMIT = 2**24
# Largest number of different words or tokens in a training split. A word takes about 200 bytes.
DISTINCT_LIMIT = 2**22


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file of at most ``TEXT_LIMIT`` bytes for reading."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > TEXT_LIMIT:
            raise FileError(f"{path} is too large: more than {TEXT_LIMIT:,} bytes of text")
        yield file


def text_encoding(path: Path) -> str:
    """Return the encoding of a file: UTF-8 or UTF-16 with a byte order mark, UTF-8, or cp1252."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = "utf-8-sig"
    with open_text(path) as file:
        chunk = file.read(2**20)
        if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        while chunk:
            if b"\0" in chunk:
                raise FileError(f"{path} is not text: it contains a NUL character")
            following = file.read(2**20)
            try:
                if encoding != "cp1252":
                    decoder.decode(chunk, final=not following)
            except UnicodeDecodeError:
                encoding = "cp1252"
                line = f"{path} is not UTF-8 text; it is read as Windows-1252"
                warnings.warn(line, UserWarning, stacklevel=2)
            chunk = following
    return encoding


def read_lines(
    path: Path, limit: int = LINE_LIMIT, *, encoding: str = "utf-8-sig"
) -> Iterator[str]:
    """Yield the lines of a text file, which end with a newline.

    The file may have a byte order mark. Raise FileError, with the place if possible, for text that
    does not have the encoding, and for a line of more than ``limit`` characters.
    """
    with open_text(path) as file:
        text = io.TextIOWrapper(file, encoding=encoding)
        try:
            for number, line in enumerate(iter(partial(text.readline, limit + 1), ""), 1):
                if len(line) > limit:
                    raise FileError(f"{path}, line {number}: more than {limit:,} characters")
                if "\0" in line:
                    raise FileError(f"{path} is not text: it contains a NUL character")
                yield line
        except UnicodeDecodeError as error:
            byte = file.tell() - len(error.object) + error.start
            name = "UTF-8" if encoding == "utf-8-sig" else encoding
            raise FileError(f"{path} is not {name} text: byte {byte}") from None


def count(tokens: Iterable[str], where: str) -> Counter[str]:
    """Return the number of occurrences of each token of a training split.

    Raise ValueError if there are more than ``DISTINCT_LIMIT`` different tokens in ``where``.
    """
    counts: Counter[str] = Counter()
    remaining = iter(tokens)
    while chunk := list(islice(remaining, 2**16)):
        counts.update(chunk)
        if len(counts) > DISTINCT_LIMIT:
            raise ValueError(f"{where} has more than {DISTINCT_LIMIT:,} different words")
    return counts


def shortened(names: Sequence[str], limit: int = 12) -> str:
    """Return up to ``limit`` names in one line for a message, each cut to 40 characters."""
    printable = [name if name.isprintable() else repr(name)[1:-1] for name in names[:limit]]
    first = ", ".join(name if len(name) <= 40 else f"{name[:37]}..." for name in printable)
    return first + (f" and {len(names) - limit} more" if len(names) > limit else "")
