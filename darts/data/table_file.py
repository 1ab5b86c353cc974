"""One CSV file as numbers and labels; whatever is wrong with it is told by line and column."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Table", "read_table"]

DELIMITERS = (",", ";", "\t")
_MISSING = {"", "?", "na", "n/a", "nan", "null", "none", "-"}


@dataclass(frozen=True, eq=False)
class Table:
    """What a file holds.

    Attributes:
        path: of the file.
        columns: names of the columns with numbers.
        label: name of the column with the classes.
        features: ``(N, columns)`` float64, all finite.
        labels: N texts.
        lines: the line of the file that each row ends in, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    label: str
    features: np.ndarray
    labels: list[str]
    lines: list[int]

    def in_order(self, columns: Sequence[str]) -> Table:
        """The same with the columns in another order.

        Raises:
            ValueError: when they are other columns.
        """
        for one, other, words in (
            (columns, self.columns, "has no column"),
            (self.columns, columns, "has a column that the training file has not:"),
        ):
            strange = [name for name in one if name not in other]
            if strange:
                raise ValueError(f"csv: {self.path} {words} {strange[0]!r}")
        places = [self.columns.index(name) for name in columns]
        features = self.features[:, places]
        return Table(self.path, tuple(columns), self.label, features, self.labels, self.lines)


def read_table(path: Path, label: str | None) -> Table:
    """Read a file with a header, numbers, and one column of classes.

    The delimiter, one of comma, semicolon and tab, is the one that cuts the header into most names.

    Args:
        path: of the file, in UTF-8.
        label: name of the column of classes; None for the last.

    Raises:
        ValueError: in one line with file, line and column: for a file that cannot be read, a header
            that is none, a row of another length, a cell that is empty or no finite number.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(
                DELIMITERS, key=lambda d: len(next(csv.reader([first], delimiter=d), []))
            )
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
            return _read(path, label, rows)
    except UnicodeDecodeError:
        raise ValueError(f"csv: {path} is no text in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"csv: {path} cannot be read as a table: {error}") from None
    except OSError as error:
        raise ValueError(f"csv: cannot read {path}: {error.strerror}") from None


def _read(path: Path, label: str | None, rows: Iterator[tuple[int, list[str]]]) -> Table:
    line, header = next(rows, (1, []))
    if not any(header):
        raise ValueError(f"csv: {path}, line {line}: there is no header")
    place = _place_of_label(path, header, label)
    columns = tuple(header[:place] + header[place + 1 :])
    values, labels, lines = array("d"), [], []
    for line, cells in rows:
        if not any(cells):
            continue  # a blank line
        if len(cells) != len(header):
            raise ValueError(
                f"csv: {path}, line {line}: {len(cells)} cells, where the header has {len(header)}"
            )
        labels.append(cells.pop(place))
        lines.append(line)
        try:
            values.extend(map(_number, cells))
        except ValueError:
            raise ValueError(_complaint(path, line, columns, cells)) from None
        if not labels[-1]:
            raise ValueError(f"csv: {path}, line {line}, column {header[place]!r}: no class")
    if not labels:
        raise ValueError(f"csv: {path} has a header and no rows")
    features = np.frombuffer(values, dtype=np.float64).reshape(len(labels), len(columns))
    strange = np.argwhere(~np.isfinite(features))
    if len(strange):
        row, column = strange[0].tolist()
        value = features[row, column]
        raise ValueError(
            f"csv: {path}, line {lines[row]}, column {columns[column]!r}: {value} is no finite "
            "number; leave such rows out or fill them in"
        )
    return Table(path, columns, header[place], features, labels, lines)


def _place_of_label(path: Path, header: list[str], label: str | None) -> int:
    """Where the classes are; whatever is wrong with the header is told here."""
    if len(header) < 2:
        raise ValueError(
            f"csv: {path}, line 1: one column only, {header[0]!r}; a table has numbers and "
            "classes, separated by commas, semicolons or tabs"
        )
    for number, name in enumerate(header):
        if not name:
            raise ValueError(f"csv: {path}, line 1: column {number + 1} has no name")
        if name in header[:number]:
            raise ValueError(f"csv: {path}, line 1: two columns are named {name!r}")
    if label is not None and label not in header:
        raise ValueError(
            f"csv: {path} has no column {label!r} for dataset.label; its columns are "
            f"{_listed(header)}"
        )
    place = len(header) - 1 if label is None else header.index(label)
    names = header[:place] + header[place + 1 :]
    counted = [str(number) for number in range(len(names))]  # as a data frame names its columns
    if all(_is_number(name) for name in names) and names != counted:
        raise ValueError(
            f"csv: {path}, line 1: numbers, where the names of the columns belong; put a header "
            "above the rows"
        )
    return place


def _complaint(path: Path, line: int, columns: Sequence[str], cells: Sequence[str]) -> str:
    """What is wrong with a row."""
    column, cell = next((c, x) for c, x in zip(columns, cells, strict=True) if not _is_number(x))
    short = cell if len(cell) <= 40 else f"{cell[:37]}..."
    if cell.lower() in _MISSING:
        what = f"a value is missing ({short!r}); leave such rows out or fill them in"
    else:
        what = f"{short!r} is no number; if these are the classes, set dataset.label={column}"
    return f"csv: {path}, line {line}, column {column!r}: {what}"


def _number(cell: str) -> float:
    if "_" in cell:  # which Python takes for a separator of digits
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
