"""What a column of a table contains: numbers, categories or dates.

The cells of a column are texts. The training rows determine its kind and its *form*, the way in
which it writes numbers or dates; both then hold for all rows.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

import numpy as np

from darts.data.text_file import shortened

NUMBER, CATEGORY, DATE, UNUSED = "number", "category", "date", "unused"
KINDS = (NUMBER, CATEGORY, DATE, UNUSED)

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-", "nat", "<na>"})
"""Cells without a value, in lower case."""

PLAIN, COMMAS, DECIMAL_COMMA = "1234.5", "1,234.5", "1.234,5"
ISO = "iso"
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m/%d/%y", "%d %b %Y",
         "%d %B %Y", "%b %d, %Y", "%B %d, %Y")  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S")

FORMS = {
    NUMBER: (PLAIN, COMMAS, DECIMAL_COMMA),
    DATE: (ISO, *(day + time for day in _DAYS for time in _TIMES)),
}
"""The forms of numbers and dates, the most frequent first."""

FEW = 10
"""Integers with at most as many values, each in at least 1 % of the rows, are categories."""

_SPACES = " \u00a0\u202f'’"  # also separate thousands
_PATTERNS = {
    COMMAS: re.compile(rf"[+-]?(\d{{1,3}}([,{_SPACES}]\d{{3}})+|\d+)(\.\d*)?", re.ASCII),
    DECIMAL_COMMA: re.compile(rf"[+-]?(\d{{1,3}}([.{_SPACES}]\d{{3}})+|\d+)(,\d*)?", re.ASCII),
}
_SEPARATORS = {COMMAS: re.compile(f"[,{_SPACES}]"), DECIMAL_COMMA: re.compile(f"[.{_SPACES}]")}
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+|[+-]?\d{1,3}", re.ASCII)
_NEARLY_ALL = 0.9  # share of numbers or dates among values; the others are mistakes
_SAMPLE = 1000  # different values that decide on this
_LEAST_ROWS = 20  # for a verdict about all values of a column
_TEXT_WORDS = 4  # mean number of words of a column of texts


def cell_text(value: object) -> str:
    """Return a value of a column as a cell; "" for None and NaN.

    Raises:
        ValueError: If the value is neither a number, a text nor a date.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | int | float | np.generic):
        return str(value)
    raise ValueError(f"a value must be a number, a text or a date, not {type(value).__name__}")


def is_missing(cell: str) -> bool:
    """Return whether a cell has no value."""
    return cell.strip().lower() in MISSING


def as_number(cell: str, form: str = PLAIN) -> float:
    """Return a cell as a number; NaN if it is not one."""
    text = cell.strip()
    if form != PLAIN:
        if not _PATTERNS[form].fullmatch(text):
            return math.nan
        text = _SEPARATORS[form].sub("", text).replace(",", ".")
    try:
        # float() accepts underscores between digits.
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def as_date(cell: str, form: str) -> datetime | None:
    """Return a cell as a date in UTC without time zone; None if it is not one."""
    text = cell.strip()
    try:
        found = datetime.fromisoformat(text) if form == ISO else datetime.strptime(text, form)
    except ValueError:
        return None
    return found.astimezone(timezone.utc).replace(tzinfo=None) if found.tzinfo else found


def fits(cell: str, form: str) -> bool:
    """Return whether a cell is a number or a date in a form."""
    if form in FORMS[NUMBER]:
        return not math.isnan(as_number(cell, form))
    return as_date(cell, form) is not None


def may_have_thousands(cells: Iterable[str]) -> bool:
    """Return whether points may separate the thousands of all numbers, as in 1.234 or 12.345.678.

    This is only so if a comma separates the decimals in other columns of the table.
    """
    present = [cell for cell in cells if not is_missing(cell)]
    return any("." in cell for cell in present) and all(map(_THOUSANDS.fullmatch, present))


@dataclass(frozen=True)
class Column:
    """What a column contains, and how its values become inputs, see ``darts.data.encodings``.

    Attributes:
        name: Its name.
        kind: One of ``KINDS``.
        form: How it writes numbers or dates; "" for texts.
        reason: Why it is not used, or why integers are categories; "" if the kind is evident.
        distinct: Number of different values in the training rows.
        missing: Number of training rows without a value.
        example: A value.
        categories: The values that have an input of their own, the most frequent first.
        mean, deviation: Of the number, or of each part of the date.
        edges: Ends of the bins of the piecewise linear encoding, ascending.
    """

    name: str
    kind: str
    form: str
    reason: str
    distinct: int
    missing: int
    example: str
    categories: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()


class CellError(ValueError):
    """A cell that is not of the kind of its column.

    Attributes:
        row: Index of the row.
    """

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row


def infer(
    name: str, cells: Sequence[str], *, kind: str | None = None, prefers_commas: bool = False
) -> Column:
    """Return what the training rows of a column contain.

    Args:
        name: Its name.
        cells: The rows, without spaces around the values.
        kind: The kind that the user has set, if any.
        prefers_commas: Whether "1,234" is more likely 1.234 than 1234.

    Raises:
        CellError: If nearly all values are numbers or dates, but one is not; or if a value is not
            of the kind that the user has set.
    """
    present = [cell for cell in cells if not is_missing(cell)]
    counts = Counter(present)
    # Numbers that are categories have one name each, however they are written.
    kinds = {None: (NUMBER, DATE), CATEGORY: (NUMBER,), NUMBER: (NUMBER,), DATE: (DATE,)}
    forms = [form for own in kinds.get(kind, ()) for form in FORMS[own]]
    if prefers_commas:
        forms.sort(key=(PLAIN, DECIMAL_COMMA).__contains__, reverse=True)
    fitting = (own for own in forms if all(fits(cell, own) for cell in counts))
    form = next(fitting, "") if counts else ""
    if counts and not form and kind in (None, NUMBER, DATE):
        _check_for_mistakes(name, cells, forms, kind)
    found, reason = _kind(counts, form, len(cells))
    if kind is not None and counts:
        found, reason = kind, "as set" if kind == UNUSED else ""
    missing, example = len(cells) - len(present), present[0] if present else ""
    return Column(name, found, form, reason, len(counts), missing, example)


def _kind(counts: Counter[str], form: str, rows: int) -> tuple[str, str]:
    """Return the kind of a column, and the reason if it is not evident."""
    values = counts.total()
    if not counts or (len(counts) == 1 and values == rows):
        return UNUSED, "constant"
    if form in FORMS[DATE]:
        return DATE, ""
    if form:
        numbers = {as_number(cell, form) for cell in counts}
        if not all(number.is_integer() for number in numbers):
            return NUMBER, ""
        # A random part of the rows has some of the numbers.
        if len(numbers) == rows >= _LEAST_ROWS and max(numbers) - min(numbers) < 2 * rows:
            return UNUSED, "numbers the rows"
        if 2 < len(counts) <= FEW and min(counts.values()) >= max(rows / 100, 2):
            return CATEGORY, "integers with few values"
        return NUMBER, ""
    if values >= _LEAST_ROWS:
        words = sum(len(cell.split()) for cell in counts) / len(counts)
        if words >= _TEXT_WORDS and len(counts) > values / 2:
            return UNUSED, "text"
        if len(counts) == values:
            return UNUSED, "all values differ"
    return CATEGORY, ""


def _check_for_mistakes(
    name: str, cells: Sequence[str], forms: Sequence[str], kind: str | None
) -> None:
    """Raise CellError if nearly all values have one of the forms, or must have one of them."""
    distinct = list(dict.fromkeys(cell for cell in cells if not is_missing(cell)))
    sample = distinct[:_SAMPLE]
    hits = {form: sum(fits(cell, form) for cell in sample) for form in forms}
    best = max(forms, key=lambda form: hits[form])
    if kind is None and (len(distinct) <= FEW or hits[best] < _NEARLY_ALL * len(sample)):
        return
    wrong = next(r for r, cell in enumerate(cells) if not (is_missing(cell) or fits(cell, best)))
    problem = f"{shortened([cells[wrong]])!r} is not a {NUMBER if best in FORMS[NUMBER] else DATE}"
    if kind is None:
        problem += f"; correct it, or set dataset.kinds.{name}={CATEGORY} for the column"
    raise CellError(wrong, problem)


def describe(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """Return a table of columns, with a header: what they contain and why some are not used."""
    rows: list[tuple[str, ...]] = [("column", "kind", "distinct", "missing", "example", "")]
    for own in columns:
        example = shortened([own.example.replace("\n", " ")])
        counts = (f"{own.distinct:,}", f"{own.missing:,}")
        rows.append((own.name, own.kind, *counts, example, own.reason))
    return rows
