"""Reading of tables with pandas: CSV and Parquet files.

Errors name the file, the line and the column.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darts.data.text_file import LINE_LIMIT, open_text, read_lines, shortened, text_encoding
from darts.reading import FileError, damage, one_line, open_regular

if TYPE_CHECKING:
    import pandas as pd

# Endings of file names; other files are read as CSV.
SUFFIXES = (".csv", ".parquet")

_DELIMITERS = (",", ";", "\t", "|")
_COLUMN_LIMIT = 2**17
_CELL_LIMIT = 2**28  # of a Parquet file, which can be much smaller than its content


@dataclass(frozen=True, eq=False)
class Table:
    """The content of a file.

    In ``cells``, the columns have names, and all cells are text. The index is the number of the
    row: in a CSV file, where blank rows are left out, the header is row 1. ``delimiter`` separates
    the columns of a CSV file.
    """

    path: Path
    cells: pd.DataFrame
    delimiter: str = ","

    @property
    def columns(self) -> list[str]:
        return list(self.cells.columns)

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    def lines(self) -> list[int]:
        """Return the line in which each row of a CSV file ends; the first line is 1."""
        rows = self.cells.index.to_numpy()
        if not self.is_parquet:
            breaks = self.cells.map(lambda cell: cell.count("\n")).to_numpy().sum(axis=1)
            rows = rows + np.cumsum(breaks) + "".join(self.columns).count("\n")
        return [int(row) for row in rows]

    def place(self, row: int, column: str) -> str:
        """Return file, line and column of a cell, for error messages."""
        unit = "row" if self.is_parquet else "line"
        return f"{self.path}, {unit} {self.lines()[row]}, column {column!r}"

    def check_columns(self, names: Iterable[str], use: str = "") -> None:
        """Raise ValueError unless there is one column of each name; ``use`` is part of the text."""
        counts = Counter(self.columns)
        for name in names:
            if counts[name] != 1:
                number = f"{counts[name]} columns" if counts[name] else "no column"
                raise ValueError(
                    f"{self.path} has {number} {name!r}{use}; its columns are "
                    f"{shortened(self.columns)}"
                )

    @property
    def rows(self) -> range:
        """The indices of all rows."""
        return range(len(self.cells))

    def column(self, name: str, rows: Sequence[int] | None = None) -> list[str]:
        """Return the cells of a column, or of some rows of it, without spaces around them."""
        cells = [cell.strip() for cell in self.cells[name]]
        return cells if rows is None else [cells[row] for row in rows]

    def texts(self, column: str) -> list[str]:
        """Return the cells of a column; none may be empty."""
        texts = self.column(column)
        if "" in texts:
            raise ValueError(self.missing(texts.index(""), column))
        return texts

    def missing(self, row: int, column: str) -> str:
        """Return the message for a target that is missing."""
        cell = self.column(column)[row]
        return (
            f"{self.place(row, column)}: a value is missing ({cell!r}); remove such rows or fill "
            "in a value"
        )


def find_tables(folder: Path) -> dict[str, Path]:
    """Return the files of the splits in a folder; ``train.csv`` comes before ``train.parquet``."""
    paths: dict[str, Path] = {}
    for split in ("train", "valid", "test"):
        for suffix in SUFFIXES:
            path = folder / f"{split}{suffix}"
            if path.is_file():
                paths.setdefault(split, path)
    return paths


def read_table(path: Path) -> Table:
    """Read a file with a header and rows.

    The delimiter of a CSV file is the comma, semicolon, tab or vertical bar that divides the header
    into the most names.
    """
    delimiter = ","
    if path.suffix.lower() == ".parquet":
        cells = _read_parquet(path)
    else:
        encoding = text_encoding(path)
        delimiter = _find_delimiter(path, encoding)
        cells = read_cells(path, delimiter, encoding)
        header = [name.strip() for name in cells.iloc[0]] if len(cells) else []
        if not any(header):
            raise ValueError(f"{path}, line 1: the header is missing")
        cells = cells[(cells != "").any(axis=1)][1:].set_axis(header, axis=1)
    if not len(cells):
        raise ValueError(f"{path} has a header and no rows")
    return Table(path, cells, delimiter)


def read_cells(path: Path, delimiter: str, encoding: str = "utf-8-sig") -> pd.DataFrame:
    """Return all cells of a CSV file as text, indexed by the number of the row from 1."""
    import pandas as pd

    _check_fields(path, delimiter)
    with open_text(path) as file:
        try:
            cells = pd.read_csv(
                file,
                sep=delimiter,
                header=None,
                dtype=object,
                keep_default_na=False,
                skip_blank_lines=False,
                encoding=encoding,
            )
        except pd.errors.EmptyDataError:
            return pd.DataFrame()
        except UnicodeDecodeError:
            raise FileError(f"{path} is not text in {encoding}") from None
        except pd.errors.ParserError as error:
            reason = one_line(error).removeprefix("Error tokenizing data. C error: ")
            raise FileError(f"{path} is not a CSV file: {reason}") from None
    cells.index += 1
    return cells


def _find_delimiter(path: Path, encoding: str) -> str:
    first = re.sub(r'"[^"]*"', "", next(read_lines(path, encoding=encoding), ""))
    delimiter = max(_DELIMITERS, key=first.count)
    if first.count(delimiter) >= _COLUMN_LIMIT:
        raise FileError(f"{path}, line 1: more than {_COLUMN_LIMIT:,} columns")
    return delimiter


def _check_fields(path: Path, delimiter: str) -> None:
    """Raise FileError for a huge field, of which pandas would keep several copies."""
    ends = (b"\n", b"\r", delimiter.encode())
    with open_text(path) as file:
        while len(block := file.read(LINE_LIMIT)) == LINE_LIMIT:
            if not any(end in block for end in ends):
                raise FileError(f"{path}: a field has more than {LINE_LIMIT:,} bytes")


def _read_parquet(path: Path) -> pd.DataFrame:
    """Return the cells of a Parquet file as text, indexed from 1; "" for those without a value."""
    import pandas as pd

    try:
        from pyarrow import parquet
    except ImportError:
        raise ValueError(
            f"{path}: Parquet files need pyarrow; run pip install 'darts-nas[parquet]'"
        ) from None
    with damage(f"{path} is damaged or not a Parquet file"), open_regular(path) as file:
        size = parquet.read_metadata(file)
        if size.num_rows * size.num_columns > _CELL_LIMIT:
            raise FileError(f"{path} is too large: more than {_CELL_LIMIT:,} cells")
        cells = pd.read_parquet(file, engine="pyarrow")
    cells = cells.astype(object).where(cells.notna(), "").map(str)
    return cells.set_axis(map(str, cells.columns), axis=1).set_axis(range(1, len(cells) + 1))
