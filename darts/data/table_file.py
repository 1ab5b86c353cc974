"""Reading of a CSV file with numbers and targets; errors name line and column."""

from __future__ import annotations

import csv
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darts.data.text_file import read_csv, read_lines, shortened

DELIMITERS = (",", ";", "\t")
_COLUMN_LIMIT = 2**20
_DIGIT_LIMIT = 1000  # characters of a number; a longer cell is not a number
_MISSING = {"", "?", "na", "n/a", "nan", "null", "none", "-"}


@dataclass(frozen=True, eq=False)
class Table:
    """The content of a CSV file.

    Attributes:
        path: The file.
        columns: Names of the numeric columns.
        targets: Names of the target columns.
        features: Numbers ``(N, columns)`` float64, all finite.
        cells: Cells of the target columns of each of the N rows, as text; none is empty.
        lines: Line of the file in which each row ends; the first line is 1.
    """

    path: Path
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    features: np.ndarray
    cells: list[tuple[str, ...]]
    lines: Sequence[int]

    def reorder(self, columns: Sequence[str]) -> Table:
        """Return the table with its columns in another order.

        Raises:
            ValueError: If the columns differ.
        """
        position_of = {name: position for position, name in enumerate(self.columns)}
        missing = [name for name in columns if name not in position_of]
        if missing:
            raise ValueError(f"csv: {self.path} has no column {missing[0]!r}; add it")
        if len(columns) < len(self.columns):
            extra = next(name for name in self.columns if name not in set(columns))
            raise ValueError(
                f"csv: {self.path} has a column that the training file lacks: {extra!r}; remove it"
            )
        order = [position_of[name] for name in columns]
        features = self.features[:, order]
        return Table(self.path, tuple(columns), self.targets, features, self.cells, self.lines)

    def numbers(self) -> np.ndarray:
        """Return the cells of the target columns as numbers, ``(N, targets)`` float64.

        Raises:
            ValueError: If a cell is not a finite number.
        """
        values = array("d")
        for line, cells in zip(self.lines, self.cells, strict=True):
            values.extend(_numbers(self.path, line, self.targets, cells, may_be_label=False))
        numbers = np.frombuffer(values, dtype=np.float64).reshape(len(self.cells), -1)
        _require_finite(self.path, self.targets, self.lines, numbers)
        return numbers


def read_table(path: Path, targets: Sequence[str]) -> Table:
    """Read a file with a header, numbers, and target columns.

    The delimiter is the comma, semicolon or tab that divides the header into the most names.

    Args:
        path: The file.
        targets: Names of the target columns; empty for the last column.

    Raises:
        ValueError: If the file is not text in UTF-8, has no header, or has a row of another length,
            an empty cell or a number that is not finite; the message names file, line and column.
        OSError: If the file cannot be read.
    """
    return _parse(path, targets, _stripped(path))


def read_rows(path: Path, columns: Sequence[str]) -> tuple[list[int], np.ndarray]:
    """Read the named columns of a file with a header; other columns are ignored.

    Returns:
        The line of the file in which each row ends, and the rows ``(N, columns)`` float64.

    Raises:
        ValueError: As ``read_table``, or if a column is missing.
        OSError: If the file cannot be read.
    """
    rows = _stripped(path)
    _, header = next(rows, (1, []))
    missing = [name for name in columns if header.count(name) != 1]
    if missing:
        raise ValueError(
            f"csv: {path}, line 1: must have one column {missing[0]!r}, as the training table; its "
            f"columns are {shortened(header) or 'none'}"
        )
    places = [header.index(name) for name in columns]
    values, lines = array("d"), []
    for line, cells in _complete(path, rows, len(header)):
        chosen = [cells[place] for place in places]
        values.extend(_numbers(path, line, columns, chosen, may_be_label=False))
        lines.append(line)
    features = np.frombuffer(values, dtype=np.float64).reshape(len(lines), len(columns))
    _require_finite(path, columns, lines, features)
    return lines, features


def _stripped(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line in which each row ends, and its cells without spaces around them."""
    rows = read_csv(path, delimiter=_delimiter(path), strict=True)
    return ((line, [cell.strip() for cell in row]) for line, row in rows)


def _complete(
    path: Path, rows: Iterator[tuple[int, list[str]]], width: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header that are not blank; refuse those of another length."""
    for line, cells in rows:
        if not any(cells):
            continue
        if len(cells) != width:
            raise ValueError(
                f"csv: {path}, line {line}: {len(cells)} cells, but the header has {width}"
            )
        yield line, cells


def _numbers(
    path: Path, line: int, columns: Sequence[str], cells: Sequence[str], *, may_be_label: bool
) -> list[float]:
    """Return the cells of a row as numbers."""
    try:
        return list(map(_parse_number, cells))
    except ValueError:
        error = _cell_error(path, line, columns, cells, may_be_label=may_be_label)
        raise ValueError(error) from None


def _delimiter(path: Path) -> str:
    first = next(read_lines(path, newline=""), "")

    def columns(delimiter: str) -> int:
        try:
            return len(next(csv.reader([first], delimiter=delimiter), []))
        except csv.Error:  # the line is one long cell
            return 0

    return max(DELIMITERS, key=columns)


def _parse(path: Path, targets: Sequence[str], rows: Iterator[tuple[int, list[str]]]) -> Table:
    line, header = next(rows, (1, []))
    if not any(header):
        raise ValueError(f"csv: {path}, line {line}: the header is missing")
    places = _target_places(path, header, targets)
    names = tuple(header[place] for place in places)
    others = [place for place in range(len(header)) if place not in {*places}]
    columns = tuple(header[place] for place in others)
    values, targets_of_rows, lines = array("d"), [], array("q")
    for line, cells in _complete(path, rows, len(header)):
        # One object for each class instead of one for each row.
        targets_of_rows.append(tuple(sys.intern(cells[place]) for place in places))
        lines.append(line)
        numbers = [cells[place] for place in others]
        values.extend(_numbers(path, line, columns, numbers, may_be_label=True))
        if not all(targets_of_rows[-1]):
            name = names[targets_of_rows[-1].index("")]
            raise ValueError(f"csv: {path}, line {line}, column {name!r}: the target is missing")
    if not targets_of_rows:
        raise ValueError(f"csv: {path} has a header and no rows")
    features = np.frombuffer(values, dtype=np.float64).reshape(len(targets_of_rows), len(columns))
    _require_finite(path, columns, lines, features)
    return Table(path, columns, names, features, targets_of_rows, lines)


def _require_finite(
    path: Path, columns: Sequence[str], lines: Sequence[int], features: np.ndarray
) -> None:
    """Raise ValueError for the first number that is not finite."""
    not_finite = np.argwhere(~np.isfinite(features))
    if len(not_finite):
        row, column = not_finite[0].tolist()
        value = features[row, column]
        raise ValueError(
            f"csv: {path}, line {lines[row]}, column {columns[column]!r}: {value} is not "
            "finite; remove such rows or fill in a value"
        )


def _target_places(path: Path, header: list[str], targets: Sequence[str]) -> list[int]:
    """Check the header and return the index of each target column."""
    if len(header) < 2:
        raise ValueError(
            f"csv: {path}, line 1: there is only one column, {header[0]!r}; a table needs "
            "numbers and targets, separated by commas, semicolons or tabs"
        )
    if len(header) > _COLUMN_LIMIT:
        raise ValueError(f"csv: {path}, line 1: more than {_COLUMN_LIMIT:,} columns")
    if "" in header:
        raise ValueError(f"csv: {path}, line 1: column {header.index('') + 1} has no name")
    name, occurrences = Counter(header).most_common(1)[0]
    if occurrences > 1:
        raise ValueError(f"csv: {path}, line 1: two columns are named {name!r}")
    missing = [name for name in targets if name not in header]
    if missing:
        key = f"dataset.label{'s' if len(targets) > 1 else ''}"
        raise ValueError(
            f"csv: {path} has no column {missing[0]!r} for {key}; its columns are "
            f"{shortened(header)}"
        )
    places = [header.index(name) for name in targets] or [len(header) - 1]
    names = [name for place, name in enumerate(header) if place not in places]
    if not names:
        raise ValueError(f"csv: {path}, line 1: no columns are left for the inputs")
    default_names = [str(number) for number in range(len(names))]  # those of a pandas data frame
    if all(_is_number(name) for name in names) and names != default_names:
        raise ValueError(
            f"csv: {path}, line 1: the column names are numbers; insert a header above the rows"
        )
    return places


def _cell_error(
    path: Path, line: int, columns: Sequence[str], cells: Sequence[str], *, may_be_label: bool
) -> str:
    """Return the error message for the first cell of a row that is not a number."""
    column, cell = next((c, x) for c, x in zip(columns, cells, strict=True) if not _is_number(x))
    short = shortened([cell])
    if cell.lower() in _MISSING:
        problem = f"a value is missing ({short!r}); remove such rows or fill in a value"
    else:
        advice = f"; if it is the target, set dataset.label={column}" if may_be_label else ""
        problem = f"{short!r} is not a number{advice}"
    return f"csv: {path}, line {line}, column {column!r}: {problem}"


def _parse_number(cell: str) -> float:
    if "_" in cell or len(cell) > _DIGIT_LIMIT:  # float() accepts underscores between digits
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _parse_number(cell)
    except ValueError:
        return False
    return True
