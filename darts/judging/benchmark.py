"""Benchmark tables: known numbers, such as accuracies, of every architecture of a space.

A table is a CSV file, plain or gzip-compressed, with a column ``arch`` and a row for each
architecture. A benchmark is a subclass of ``BenchmarkTable`` and a ``Layout``, which describes its
files.
"""

from __future__ import annotations

import csv
import importlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from darts.config import BenchmarkConfig
from darts.reading import MIB, gunzip, one_line, read_bytes
from darts.spaces import AnyGenotype, Space
from darts.spaces.genotype_text import check_name, short_repr

if TYPE_CHECKING:
    from typing_extensions import Unpack

Values: TypeAlias = NDArray[np.float64]

# Bytes of a table, also after decompression; a table of 15,625 rows and 24 columns has 4 MiB.
LIMIT = 64 * MIB
# Characters of the name of a column; columns with longer names are not read.
NAME_LIMIT = 100


class Column(TypedDict, total=False):
    """What names a column of accuracies; "test_x" is the split "test" from the source "x"."""

    dataset: str
    split: str
    epochs: int | None


class BenchmarkTable(ABC):
    """Accuracies of all architectures of a benchmark. Iteration yields the architectures as text.

    Every lookup takes the fields of ``Column`` as keyword arguments. An architecture is given as
    genotype or as text. An unknown architecture or column raises ``ValueError``.

    Args:
        columns: Accuracies in percent ``(N,)`` by column name, in the order of ``index``. Names are
            ``<dataset>_<split>_ep<epochs>``, optionally followed by ``_<source>``.
    """

    default_epochs: ClassVar[int]  # length of the runs whose accuracies are read by default

    def __init__(self, columns: Mapping[str, Values]) -> None:
        self._columns = columns

    @abstractmethod
    def index(self, arch: str | AnyGenotype) -> int:
        """Return the position of an architecture in the columns."""

    @abstractmethod
    def arch(self, index: int) -> str:
        """Return the architecture at a position, in the notation of the benchmark."""

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __iter__(self) -> Iterator[str]:
        return map(self.arch, range(len(self)))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of accuracies."""
        return tuple(self._columns)

    def column(
        self, *, dataset: str = "cifar10", split: str = "test", epochs: int | None = None
    ) -> Values:
        """Return accuracies in percent ``(N,)``; ``split="test_x"`` names the source ``x``."""
        split, _, source = str(split).partition("_")
        epochs = self.default_epochs if epochs is None else epochs
        name = f"{dataset}_{split}_ep{epochs}" + (f"_{source}" if source else "")
        return self._columns[check_name("the table has no column", name, self._columns)]

    def accuracy(self, arch: str | AnyGenotype, **column: Unpack[Column]) -> float:
        """Return the accuracy of an architecture in percent."""
        return float(self.column(**column)[self.index(arch)])

    def rank(self, arch: str | AnyGenotype, **column: Unpack[Column]) -> int:
        """Return one plus the number of better architectures; 1 is the best rank."""
        values = self.column(**column)
        return 1 + int((values > values[self.index(arch)]).sum())

    def regret(self, arch: str | AnyGenotype, **column: Unpack[Column]) -> float:
        """Return the best accuracy in the column minus the accuracy of ``arch``, in points."""
        values = self.column(**column)
        return float(values.max() - values[self.index(arch)])

    def optimum(self, **column: Unpack[Column]) -> tuple[str, float]:
        """Return the best architecture (the first of equals) and its accuracy in percent."""
        values = self.column(**column)
        best = int(values.argmax())
        return self.arch(best), float(values[best])


class Layout(NamedTuple):
    """The files of a benchmark.

    Attributes:
        file: Name of the table if its path is a directory; ``.gz`` may follow.
        archs: Returns the text of all architectures, in the order of their index.
        select: Returns which columns of a header to read, with the largest valid value of each; no
            columns if a required one is missing. The smallest valid value is 0.
        needs: The required columns, for messages.
    """

    benchmark: str
    file: str
    archs: Callable[[], Iterator[str]]
    select: Callable[[Sequence[str]], Mapping[str, float]]
    needs: str
    kind: str = "benchmark table"


def read_table(path: str | Path, layout: Layout) -> dict[str, Values]:
    """Read columns of a table, in the order of the architectures' indices.

    The path is a CSV file, plain or gzip-compressed, or a directory that contains ``layout.file``.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        names = (layout.file, f"{layout.file}.gz")
        tables = [file / name for name in names if (file / name).is_file()]
        if not tables:
            raise ValueError(f"{str(path)!r} contains neither {' nor '.join(names)}")
        file = tables[0]
    if not file.exists():
        raise ValueError(f"the {layout.kind} {str(path)!r} does not exist")
    try:
        return _parse(read_compressed(file), layout)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is not a {layout.kind}: {one_line(error)}") from None


def read_compressed(path: Path) -> str:
    """Return the text of a file, plain or gzip-compressed, of at most ``LIMIT`` bytes."""
    data = read_bytes(path, limit=LIMIT)
    if data[:2] == b"\x1f\x8b":
        data = gunzip(data, limit=LIMIT)
    return data.decode("utf-8-sig")


def _parse(text: str, layout: Layout) -> dict[str, Values]:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    names = [name for name in header if len(name) <= NAME_LIMIT]
    limits = layout.select(names)
    if "arch" not in names or not limits:
        raise ValueError(f"the header {short_repr(','.join(names))} needs {layout.needs}")
    position_of = {name: position for position, name in enumerate(header)}
    archs = dict.fromkeys(layout.archs())
    rows: dict[str, list[str]] = {}
    for row in reader:
        line = f"line {reader.line_num}"
        if len(row) != len(header):
            raise ValueError(f"{line} has {len(row)} fields, the header has {len(header)}")
        arch = row[position_of["arch"]]
        if arch not in archs:
            name = short_repr(arch)
            raise ValueError(f"{line}: {name} is not an architecture of {layout.benchmark}")
        if arch in rows:
            raise ValueError(f"{line}: {arch} is a duplicate")
        rows[arch] = [row[position_of[name]] for name in limits]
    if missing := [arch for arch in archs if arch not in rows]:
        raise ValueError(
            f"it has {len(rows)} of {len(archs)} architectures; {missing[0]} is missing"
        )
    columns: dict[str, Values] = {}
    for position, (name, limit) in enumerate(limits.items()):
        columns[name] = np.array([rows[arch][position] for arch in archs], dtype=np.float64)
        if not ((columns[name] >= 0) & (columns[name] <= limit)).all():  # also for NaN
            raise ValueError(f"{name} must be between 0 and {limit:g}")
    return columns


# The space that each benchmark covers, with its fields, by the name that `Space.benchmark`
# declares. The module `darts.judging.<name>_table` reads the table.
TABLES: Mapping[str, Mapping[str, str]] = {
    "nas201": {"space": "nas201"},
    "macro": {"space": "macro", "skeleton": "nasbench"},
}


class Benchmark:
    """True test accuracy, rank and regret of architectures.

    ``epochs`` is the length of the runs; None stands for the usual one of the benchmark.
    """

    def __init__(self, table: BenchmarkTable, dataset: str, epochs: int | None) -> None:
        self.table = table
        self._column: Column = {"dataset": dataset, "split": "test", "epochs": epochs}
        table.column(**self._column)  # raises if the column does not exist

    @classmethod
    def from_config(cls, config: BenchmarkConfig, space: Space) -> Benchmark | None:
        """Load the configured table, or return None if there is none.

        Raise ``ValueError`` if the file is not a table, or if no table covers the space.
        """
        if config.table is None:
            return None
        if space.benchmark is None:
            needed = (" space.".join(f"{k}={v}" for k, v in own.items()) for own in TABLES.values())
            raise ValueError(f"benchmark.table needs {' or '.join(needed)}, not space={space.name}")
        module = importlib.import_module(f"darts.judging.{space.benchmark}_table")
        return cls(module.load(config.table), config.dataset, config.epochs)

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return ``true_accuracy``, ``true_regret`` and ``true_rank`` of a genotype.

        Accuracy and regret are fractions. The regret is the difference to the best accuracy in the
        table; the best rank is 1.
        """
        return {
            "true_accuracy": self.table.accuracy(genotype, **self._column) / 100,
            "true_rank": self.table.rank(genotype, **self._column),
            "true_regret": self.table.regret(genotype, **self._column) / 100,
        }
