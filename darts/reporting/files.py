"""Reading of the files of a run directory, which may be damaged or untrusted."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

from darts.reading import MIB, FileError, JsonObject, one_line, read_bytes, read_npz, read_text
from darts.reporting.contents import MAX_COLUMNS
from darts.tracking.optional import reason_of
from darts.writing import is_machine_failure

T = TypeVar("T")

SUMMARY_LIMIT = MIB  # bytes of summary.json and other small files
METRICS_LIMIT = 32 * MIB  # of metrics.jsonl
TABLE_LIMIT = 16 * MIB  # of trials.csv
_SVG_LIMIT = 4 * MIB
_SPLIT_LIMIT = 128 * MIB
_MAX_CELLS = 500_000  # of trials.csv


@dataclass
class RunFiles:
    """The files of a run directory.

    Attributes:
        directory: The run directory.
        notes: A sentence about each file that was left out because it is damaged.
    """

    directory: Path
    notes: list[str] = field(default_factory=list)

    def required(self, name: str, parse: Callable[[Path], T]) -> T | None:
        """Return what ``parse`` reads from a file, or None if the file does not exist.

        Raises:
            FileError: If the file is damaged.
            OSError: If the disk fails.
        """
        path = self.directory / name
        try:
            return parse(path)
        except FileNotFoundError:
            return None
        except (MemoryError, FileError):
            raise
        except OSError as error:
            if is_machine_failure(error):
                raise
            raise FileError(f"{path} cannot be read: {one_line(error)}") from None
        except Exception as error:  # a damaged file may raise any error in a parser
            raise FileError(f"{path} is damaged: {reason_of(error)}") from None

    def optional(self, name: str, parse: Callable[[Path], T]) -> T | None:
        """Return what ``parse`` reads from a file, or None if it does not exist or is damaged.

        A damaged file causes one warning and adds one of the notes.
        """
        try:
            return self.required(name, parse)
        except (FileError, OSError) as error:
            self.notes.append(f"{one_line(error)}. This page leaves {name} out.")
            warnings.warn(f"{one_line(error)}; {name} is left out", stacklevel=2)
            return None


def read_table(path: Path) -> list[JsonObject]:
    """Return the rows of a CSV file by column: numbers and texts; missing values are empty strings.

    Raises:
        ValueError: If rows have different lengths, or the table is too large.
    """
    text = io.StringIO(read_text(path, limit=TABLE_LIMIT), newline="")
    reader = csv.reader(text, strict=True)
    rows: list[JsonObject] = []
    try:
        names = next(reader, [])
        if len(names) > MAX_COLUMNS or len(set(names)) < len(names):
            raise ValueError(f"it must have at most {MAX_COLUMNS:,} columns with different names")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise ValueError(f"line {reader.line_num} must have {len(names)} cells")
            rows.append(dict(zip(names, map(_value, cells), strict=True)))
            if len(rows) * len(names) > _MAX_CELLS:
                raise ValueError(f"it must have at most {_MAX_CELLS:,} cells")
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    return rows


def _value(text: str) -> str | float:
    """Return the number that a text is, unless its square is infinite; otherwise the text."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not abs(value) < 1e100:
        return text
    return int(value) if value.is_integer() and "." not in text else value


def read_svg(path: Path) -> bytes:
    """Return the content of an SVG file. It is well-formed, but may contain anything, even scripts.

    Raises:
        ValueError: If it is not well-formed, or defines entities, which may expand endlessly.
    """
    content = read_bytes(path, limit=_SVG_LIMIT)
    text = content.decode("utf-8")
    if "<!ENTITY" in text:
        raise ValueError("it defines entities")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not an SVG image: {error}") from None
    if root.tag != "{http://www.w3.org/2000/svg}svg":
        raise ValueError("not an SVG image")
    return content


def count_samples(path: Path) -> dict[str, int]:
    """Return the number of samples of each subset and split, from their indices.

    Raises:
        ValueError: If an array is not a list of indices.
    """
    arrays = read_npz(path, limit=_SPLIT_LIMIT)
    if len(arrays) > MAX_COLUMNS or max(map(len, arrays), default=0) > MAX_COLUMNS:
        raise ValueError("it has too many arrays, or an array with a long name")
    for name, indices in arrays.items():
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise ValueError(f"{name} must be a list of integers")
    return {name: len(indices) for name, indices in arrays.items()}
