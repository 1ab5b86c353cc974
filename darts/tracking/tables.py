"""Tables of results as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from darts.escaping import for_csv
from darts.writing import write_atomically


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV; a missing value is an empty field."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if "failure" in columns:  # the longest text is the last column
        columns.append(columns.pop(columns.index("failure")))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(for_csv, columns))
    writer.writerows([for_csv(row.get(name, "")) for name in columns] for row in rows)
    write_atomically(path, text.getvalue())
