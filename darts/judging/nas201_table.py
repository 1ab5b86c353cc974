"""NAS-Bench-201: the accuracy of every architecture, from a table.

A table is a CSV file, plain or gzip-compressed, with a row for each of the 15,625 architectures:
a column ``arch``, and columns of accuracies in percent named ``<dataset>_<split>_ep<epochs>``, for
example ``cifar10_test_ep200``. A suffix names a second source of the same accuracy:
``cifar10_test_ep200_nats`` is requested with ``split="test_nats"``. Other columns are ignored.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326.
    Dong et al., "NATS-Bench", arXiv:2009.00437.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from darts.reading import MIB, gunzip, one_line, read_bytes
from darts.spaces.genotype_text import short_repr
from darts.spaces.nas201.genotype import ARCHITECTURES, EDGES, PRIMITIVES, Genotype

if TYPE_CHECKING:
    from typing_extensions import Unpack

Values = NDArray[np.float64]

FILES = ("nasbench201.csv", "nasbench201.csv.gz")  # names of a table in a directory

LIMIT = 64 * MIB
"""Bytes of a table, also after decompression; a table of 24 columns has about 4 MiB."""
_COLUMN_LIMIT = 200
_CELL_LIMIT = 100  # characters of a number and of the name of a column
_COLUMN = re.compile(r"\w+_[a-z]+_ep\d+(_\w+)?")


class Column(TypedDict, total=False):
    """Key of a column of accuracies: data set, split with an optional source, training epochs."""

    dataset: str
    split: str
    epochs: int


class Table:
    """Accuracies of all architectures.

    Every method takes the fields of ``Column`` as keyword arguments. An unknown architecture or
    column raises ``ValueError``.

    Args:
        columns: Accuracies in percent ``(15625,)`` by column name, in the order of
            ``Genotype.index``.
    """

    def __init__(self, columns: Mapping[str, Values]) -> None:
        self._columns = columns

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._columns)

    def column(self, *, dataset: str = "cifar10", split: str = "test", epochs: int = 200) -> Values:
        """Return accuracies in percent ``(15625,)``, in the order of ``Genotype.index``."""
        split, _, source = str(split).partition("_")
        name = f"{dataset}_{split}_ep{epochs}" + (f"_{source}" if source else "")
        if name not in self._columns:
            available = ", ".join(self._columns)
            raise ValueError(f"the table has no column {short_repr(name)}; choose from {available}")
        return self._columns[name]

    def accuracy(self, arch: str | Genotype, **column: Unpack[Column]) -> float:
        """Return the accuracy of an architecture in percent."""
        return float(self.column(**column)[_index(arch)])

    def rank(self, arch: str | Genotype, **column: Unpack[Column]) -> int:
        """Return one plus the number of better architectures; 1 is the best rank."""
        values = self.column(**column)
        return 1 + int((values > values[_index(arch)]).sum())

    def regret(self, arch: str | Genotype, **column: Unpack[Column]) -> float:
        """Return the best accuracy in the column minus that of ``arch``, in percentage points."""
        values = self.column(**column)
        return float(values.max() - values[_index(arch)])

    def percentile(self, arch: str | Genotype, **column: Unpack[Column]) -> float:
        """Return the percentage of architectures that are not better, including ``arch`` itself."""
        values = self.column(**column)
        return 100 * float((values <= values[_index(arch)]).mean())

    def optimum(self, **column: Unpack[Column]) -> tuple[str, float]:
        """Return the best architecture (the first of equals) and its accuracy in percent."""
        values = self.column(**column)
        best = int(values.argmax())
        return str(Genotype.from_index(best)), float(values[best])


def _index(arch: str | Genotype) -> int:
    return (arch if isinstance(arch, Genotype) else Genotype.parse(arch)).index


def load(path: str | Path) -> Table:
    """Read a table.

    Args:
        path: A CSV file, plain or gzip-compressed, or a directory that contains
            ``nasbench201.csv`` or ``nasbench201.csv.gz``.

    Raises:
        ValueError: If the file does not exist, is larger than ``LIMIT`` bytes, or is not a table.
            The official files, ``*.pickle.pbz2``, are pickles and therefore refused.
        OSError: If the file cannot be read.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        tables = [file / name for name in FILES if (file / name).is_file()]
        if not tables:
            raise ValueError(f"{str(path)!r} contains neither {' nor '.join(FILES)}")
        file = tables[0]
    if file.name.endswith(".pickle.pbz2"):
        raise ValueError(
            f"{str(path)!r} is a pickle, which could run code; convert it to a CSV file as "
            "docs/methods.md describes"
        )
    if not file.exists():
        raise ValueError(f"the benchmark table {str(path)!r} does not exist")
    data = read_bytes(file, limit=LIMIT)
    try:
        if data[:2] == b"\x1f\x8b":
            data = gunzip(data, limit=LIMIT)
        return Table(_read(data.decode("utf-8-sig")))
    except (UnicodeDecodeError, csv.Error) as error:
        reason = short_repr(str(error))
        raise ValueError(f"{str(path)!r} cannot be read as CSV: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a benchmark table: {error}") from None


def _read(text: str) -> dict[str, Values]:
    """Parse a table; ``ValueError`` if it is not complete and valid."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    # The pattern takes quadratic time, which matters for long names only.
    names = [name for name in header if len(name) <= _CELL_LIMIT and _COLUMN.fullmatch(name)]
    if "arch" not in header or not names:
        raise ValueError(
            f"the header {short_repr(','.join(header))} needs a column arch and a column such as "
            "cifar10_test_ep200"
        )
    if len(names) > _COLUMN_LIMIT:
        raise ValueError(f"it has more than {_COLUMN_LIMIT} columns of accuracies")
    if len(set(header)) != len(header):
        raise ValueError("two columns have the same name")
    arch, positions = header.index("arch"), [header.index(name) for name in names]
    indices = {text: index for index, text in enumerate(_texts())}
    values = np.full((ARCHITECTURES, len(names)), np.nan)
    present = np.zeros(ARCHITECTURES, dtype=bool)
    for row in reader:
        line = f"line {reader.line_num}"
        if len(row) != len(header):
            raise ValueError(f"{line} has {len(row)} fields, the header has {len(header)}")
        index = indices.get(row[arch])
        if index is None:
            name = short_repr(row[arch])
            raise ValueError(f"{line}: {name} is not an architecture of NAS-Bench-201")
        if present[index]:
            raise ValueError(f"{line}: {row[arch]} is a duplicate")
        present[index] = True
        try:
            values[index] = [_number(row[position]) for position in positions]
        except ValueError as error:
            raise ValueError(f"{line}: {one_line(error)}") from None
        if not all(0 <= value <= 100 for value in values[index]):  # False for NaN, too
            raise ValueError(f"{line}: accuracies must be between 0 and 100")
    if not present.all():
        missing = Genotype.from_index(int(present.argmin()))
        raise ValueError(
            f"it has {int(present.sum())} of {ARCHITECTURES} architectures; {missing} is missing"
        )
    return {name: values[:, position] for position, name in enumerate(names)}


def _number(cell: str) -> float:
    if len(cell) > _CELL_LIMIT:
        raise ValueError(f"a number has more than {_CELL_LIMIT} characters")
    return float(cell)


def _texts() -> Iterator[str]:
    """Yield the text of each architecture in the order of its index.

    This is much faster than ``str`` of each genotype.
    """
    template = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    return (template.format(*names) for names in product(PRIMITIVES, repeat=len(EDGES)))
