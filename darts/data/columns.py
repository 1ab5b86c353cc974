"""What a column of a table contains: numbers, categories or dates.

The cells of a column are texts without spaces around them. The training file determines the kind of
a column and its *form*, the way in which it writes numbers or dates; both then hold for all files.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

import numpy as np

from darts.data.text_file import shortened

NUMBER, CATEGORY, DATE, UNUSED = "number", "category", "date", "unused"
KINDS = (NUMBER, CATEGORY, DATE, UNUSED)

# Cells without a value, in lower case.
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-", "nat", "<na>"})

PLAIN, COMMAS, DECIMAL_COMMA = "1234.5", "1,234.5", "1.234,5"
ISO = "2024-05-17"
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m/%d/%y", "%d.%m.%y",
         "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S")

# The forms of each kind, the most frequent first.
FORMS = {
    NUMBER: (PLAIN, COMMAS, DECIMAL_COMMA),
    DATE: (ISO, *(day + time for day in _DAYS for time in _TIMES)),
    CATEGORY: ("", PLAIN, COMMAS, DECIMAL_COMMA),
    UNUSED: ("",),
}

# Numbers that a date becomes; weekdays from 0, Monday; days since 1970.
DATE_PARTS = ("year", "month", "weekday", "hour", "days")

# Integers with 3 to as many values, each in at least 1 % of the rows, are categories.
FEW = 10

_SPACES = " \u00a0\u202f'’"  # also separate thousands
_GROUPED = r"[+-]?([1-9]\d{{0,2}}([{0}]\d{{3}})+|\d+)({1}\d*)?(e[+-]?\d+)?"
_PATTERNS = {
    COMMAS: re.compile(_GROUPED.format("," + _SPACES, r"\."), re.ASCII | re.IGNORECASE),
    DECIMAL_COMMA: re.compile(_GROUPED.format("." + _SPACES, ","), re.ASCII | re.IGNORECASE),
}
_SEPARATORS = {COMMAS: re.compile(f"[,{_SPACES}]"), DECIMAL_COMMA: re.compile(f"[.{_SPACES}]")}
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+|[+-]?\d{1,3}", re.ASCII)
_NEARLY_ALL = 0.9  # share of numbers or dates among values; the others are mistakes
_SAMPLE = 1000  # different values that decide on this
_LEAST_ROWS = 20  # for a verdict about all values of a column
_TEXT_WORDS = 4  # mean number of words of a column of texts
_EPOCH = datetime(1970, 1, 1)


class CellError(ValueError):
    """A cell that is not of the kind of its column.

    Attributes:
        row: Index of its row.
        column: Name of its column, if it is known.
    """

    def __init__(self, row: int, problem: str, column: str = "") -> None:
        super().__init__(problem)
        self.row, self.column = row, column


@dataclass(frozen=True)
class Column:
    """How the values of a column become inputs, see ``darts.data.encodings``.

    Attributes:
        name: Its name.
        kind: One of ``KINDS``.
        form: One of the ``FORMS`` of the kind.
        may_lack: Whether training rows lack a value; decides for numbers and dates.
        categories: The values that have an input of their own, the most frequent first.
        mean, deviation: Of the number, or of each part of the date.
        edges: Ends of the bins of the piecewise linear encoding, ascending.
    """

    name: str
    kind: str
    form: str = ""
    may_lack: bool = False
    categories: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.form not in FORMS[self.kind]:
            raise ValueError(f"encoding: column {self.name!r} has an unknown kind or form")
        if len(self.mean) != len(self.deviation) or len(self.mean) not in (0, self.parts):
            raise ValueError(f"encoding: mean and deviation of {self.name!r} have a wrong length")

    @property
    def parts(self) -> int:
        """Number of numbers that a value becomes; 0 for categories."""
        return {NUMBER: 1, DATE: len(DATE_PARTS)}.get(self.kind, 0)

    def category(self, cell: str) -> str:
        """Return the name of the category of a cell; "" if the value is missing.

        A number has one name, however it is written.
        """
        if is_missing(cell):
            return ""
        number = as_number(cell, self.form) if self.form else math.nan
        return cell if math.isnan(number) else f"{number:.17g}"

    def numbers(self, cells: Sequence[str]) -> np.ndarray:
        """Return the numbers or the parts of the dates, ``(N, parts)`` float64; NaN if missing.

        Raises:
            CellError: If a cell is not a finite number, or not a date in the form of the column.
        """
        lacking = (math.nan,) * self.parts
        found: dict[str, tuple[float, ...]] = {}
        for cell in set(cells):
            values = lacking if is_missing(cell) else self._parse(cell)
            if values is None:
                problem = "is not finite"
                if not fits(cell, self.form):
                    problem = f"is not a {self.kind} like {self.form}"
                raise CellError(cells.index(cell), f"{shortened([cell])!r} {problem}", self.name)
            found[cell] = values
        rows = [found[cell] for cell in cells]
        return np.array(rows, np.float64).reshape(-1, self.parts)

    def _parse(self, cell: str) -> tuple[float, ...] | None:
        if self.kind == NUMBER:
            number = as_number(cell, self.form)
            return (number,) if math.isfinite(number) else None
        found = as_date(cell, self.form)
        if found is None:
            return None
        hour, days = found.hour + found.minute / 60, (found - _EPOCH).total_seconds() / 86_400
        return found.year, found.month, found.weekday(), hour, days

    def cell_of(self, value: object) -> str:
        """Return a value of a Python program as a cell; "" for None, NaN and similar values.

        Raises:
            ValueError: If the value is neither a number, a text nor a date.
        """
        if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
            return ""
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, datetime | date):
            return value.strftime(self.form) if "%" in self.form else value.isoformat()
        if isinstance(value, bool | np.bool_):
            written = (str(value), str(value).lower(), str(value).upper(), str(int(value)))
            return next((text for text in written if text in self.categories), str(int(value)))
        if isinstance(value, int | float | np.integer | np.floating):
            text = repr(value.item() if isinstance(value, np.generic) else value)
            return text.replace(".", ",") if self.form == DECIMAL_COMMA else text
        raise ValueError(f"a value must be a number, a text or a date, not {type(value).__name__}")


@dataclass(frozen=True)
class Description:
    """What users read about a column of the training file.

    Attributes:
        column: The column.
        reason: Why it is not used, or why integers are categories; "" if the kind is evident.
        distinct: Number of different values.
        missing: Number of rows without a value.
        example: A value.
    """

    column: Column
    reason: str
    distinct: int
    missing: int
    example: str


def is_missing(cell: str) -> bool:
    """Return whether a cell has no value."""
    return len(cell) <= 4 and cell.lower() in MISSING


def as_number(cell: str, form: str = PLAIN) -> float:
    """Return a cell as a number; NaN if it is not one."""
    if form != PLAIN:
        if not _PATTERNS[form].fullmatch(cell):
            return math.nan
        cell = _SEPARATORS[form].sub("", cell).replace(",", ".")
    try:
        # float() accepts underscores between digits.
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def as_date(cell: str, form: str) -> datetime | None:
    """Return a cell as a date in UTC without time zone; None if it is not one."""
    try:
        found = datetime.fromisoformat(cell) if form == ISO else datetime.strptime(cell, form)
        return found.astimezone(timezone.utc).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None


def fits(cell: str, form: str) -> bool:
    """Return whether a cell is a number or a date in a form."""
    if form in FORMS[NUMBER]:
        return not math.isnan(as_number(cell, form))
    return as_date(cell, form) is not None


def may_have_thousands(cells: Sequence[str]) -> bool:
    """Return whether points may separate the thousands of all numbers, as in 1.234 or 12.345.678.

    This is only so if a comma separates the decimals in other columns of the table.
    """
    present = [cell for cell in cells if not is_missing(cell)]
    return any("." in cell for cell in present) and all(map(_THOUSANDS.fullmatch, present))


def infer(
    name: str, cells: Sequence[str], *, kind: str | None = None, prefers_commas: bool = False
) -> Description:
    """Return what the rows of a column contain.

    Args:
        name: Its name.
        cells: The rows.
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
    fitting = (form for form in forms if all(fits(cell, form) for cell in counts))
    form = next(fitting, "") if counts else ""
    if counts and not form and kind in (None, NUMBER, DATE):
        _check_for_mistakes(cells, forms, kind)
    found, reason = _kind(counts, form, len(cells))
    if kind is not None and counts:
        found, reason = kind, "as set" if kind == UNUSED else ""
    missing, example = len(cells) - len(present), present[0] if present else ""
    column = Column(name, found, form if form in FORMS[found] else "")
    return Description(column, reason, len(counts), missing, example)


def _kind(counts: Counter[str], form: str, rows: int) -> tuple[str, str]:
    """Return the kind of a column, and the reason if it is not evident."""
    values = counts.total()
    if not counts:
        return UNUSED, "no values"
    if len(counts) == 1 and values == rows:
        return UNUSED, "constant"
    if form in FORMS[DATE]:
        return DATE, ""
    if form:
        numbers: Counter[float] = Counter()
        for cell, count in counts.items():
            numbers[as_number(cell, form)] += count
        if not all(number.is_integer() for number in numbers):
            return NUMBER, ""
        is_row_number = min(numbers) in (0, 1) and max(numbers) - min(numbers) == rows - 1
        if is_row_number and len(numbers) == rows >= _LEAST_ROWS:
            return UNUSED, "numbers the rows"
        if 2 < len(numbers) <= FEW and min(numbers.values()) >= max(rows / 100, 2):
            return CATEGORY, "integers with few values"
        return NUMBER, ""
    if values >= _LEAST_ROWS:
        words = sum(len(cell.split()) for cell in counts) / len(counts)
        if words >= _TEXT_WORDS and len(counts) > values / 2:
            return UNUSED, "text"
        if len(counts) == values:
            return UNUSED, "all values differ"
    return CATEGORY, ""


def _check_for_mistakes(cells: Sequence[str], forms: Sequence[str], kind: str | None) -> None:
    """Raise CellError if nearly all values have one of the forms, or must have one of them."""
    distinct = list(dict.fromkeys(cell for cell in cells if not is_missing(cell)))
    sample = distinct[:: max(len(distinct) // _SAMPLE, 1)]
    hits = {form: sum(fits(cell, form) for cell in sample) for form in forms}
    best = max(forms, key=lambda form: hits[form])
    if kind is None and (len(distinct) <= FEW or hits[best] < _NEARLY_ALL * len(sample)):
        return
    wrong = next(r for r, cell in enumerate(cells) if not (is_missing(cell) or fits(cell, best)))
    noun = NUMBER if best in FORMS[NUMBER] else DATE
    raise CellError(wrong, f"{shortened([cells[wrong]])!r} is not a {noun}")


def describe(columns: Sequence[Description]) -> list[tuple[str, ...]]:
    """Return a table of columns, with a header: what they contain and why some are not used."""
    rows: list[tuple[str, ...]] = [("column", "kind", "distinct", "missing", "example", "")]
    for own in columns:
        texts = (own.column.name, own.example)
        name, example = (shortened([" ".join(text.split())]) for text in texts)
        counts = (f"{own.distinct:,}", f"{own.missing:,}")
        rows.append((name, own.column.kind, *counts, example, own.reason))
    return rows
