"""What every architecture of NAS-Bench-201 has reached, from a table or from official files.

A table is a CSV file, plain or gzip-compressed, with a row for each of the 15,625 architectures: a
column ``arch`` and columns of accuracies in percent called ``<dataset>_<split>_ep<epochs>``, such
as ``cifar10_test_ep200``. A second source of the same number has its name behind it, as in
``cifar10_test_ep200_nats``, and is asked for by ``split="test_nats"``. Other columns are ignored.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326.
    Dong et al., "NATS-Bench", arXiv:2009.00437: the official files, read by the package nats-bench.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from darts.spaces.genotype_text import brief
from darts.spaces.nas201.genotype import ARCHITECTURES, EDGES, PRIMITIVES, Genotype

Values = NDArray[np.float64]

FILES = ("nasbench201.csv", "nasbench201.csv.gz")
"""What a table is called in a directory."""

_COLUMN = re.compile(r"\w+_[a-z]+_ep\d+(_\w+)?")

# The benchmark's own names: (data set, key of the result). Accuracies on CIFAR-10's validation
# part are of networks that have not been trained on it.
_OFFICIAL = {
    ("cifar10", "val"): ("cifar10-valid", "valid-accuracy"),
    ("cifar10", "test"): ("cifar10", "test-accuracy"),
    ("cifar100", "val"): ("cifar100", "valid-accuracy"),
    ("cifar100", "test"): ("cifar100", "test-accuracy"),
    ("imagenet16", "val"): ("ImageNet16-120", "valid-accuracy"),
    ("imagenet16", "test"): ("ImageNet16-120", "test-accuracy"),
}
_EPOCHS = (12, 200)


class Table:
    """Accuracies of all architectures; every method takes data set, split and epochs by keyword.

    Args:
        columns: ``{"cifar10_test_ep200": (15625,) accuracies in percent}``, by the genotypes'
            ``index``.

    Raises:
        ValueError: by its methods, in one line: an architecture that is none of the space's, or a
            column that there is not.
    """

    def __init__(self, columns: Mapping[str, Values]) -> None:
        self._columns = columns

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._columns)

    def column(self, *, dataset: str = "cifar10", split: str = "test", epochs: int = 200) -> Values:
        """Accuracies in percent of all architectures, ``(15625,)``, by the genotypes' index."""
        split, _, source = str(split).partition("_")
        name = f"{dataset}_{split}_ep{epochs}" + (f"_{source}" if source else "")
        if name not in self._columns:
            there = ", ".join(self._columns)
            raise ValueError(f"the table has no column {brief(name)}; there is {there}")
        return self._columns[name]

    def accuracy(self, arch: str | Genotype, **which: Any) -> float:
        """Its accuracy in percent.

        Args:
            arch: a genotype, or a text of one.
            which: ``dataset`` ("cifar10"), ``split`` ("test") and ``epochs`` (200), here and below.
        """
        return float(self.column(**which)[_index(arch)])

    def rank(self, arch: str | Genotype, **which: Any) -> int:
        """One more than the number of architectures that are better; 1 is the best."""
        column = self.column(**which)
        return 1 + int((column > column[_index(arch)]).sum())

    def regret(self, arch: str | Genotype, **which: Any) -> float:
        """By how many percentage points the best architecture is better."""
        column = self.column(**which)
        return float(column.max() - column[_index(arch)])

    def percentile(self, arch: str | Genotype, **which: Any) -> float:
        """The percentage of architectures that are no better, itself included; the best has 100."""
        column = self.column(**which)
        return 100 * float((column <= column[_index(arch)]).mean())

    def optimum(self, **which: Any) -> tuple[str, float]:
        """The best architecture's text and its accuracy in percent; of equals the lowest index."""
        column = self.column(**which)
        best = int(column.argmax())
        return str(Genotype.from_index(best)), float(column[best])


def _index(arch: str | Genotype) -> int:
    return (arch if isinstance(arch, Genotype) else Genotype.parse(arch)).index


def load(path: str | Path) -> Table:
    """Read a table, or open official files.

    Args:
        path: a CSV file, plain or compressed by gzip; a directory that holds ``nasbench201.csv`` or
            ``nasbench201.csv.gz``; an official file of the topology search space,
            ``NATS-tss-*.pickle.pbz2``; or the directory of its archive. The official ones are
            pickles, which can run code: open only what its publisher gave out. They need the
            package nats-bench, and the first question about a column takes minutes.

    Raises:
        ValueError: in one line, when it is not there or no such table.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        held = [file / name for name in FILES if (file / name).is_file()]
        if not held and any(file.glob("*.pickle.pbz2")):
            return Table(_OfficialColumns(file))
        if not held:
            raise ValueError(f"{str(path)!r} holds neither {' nor '.join(FILES)}")
        file = held[0]
    if not file.is_file():
        raise ValueError(f"there is no benchmark table {str(path)!r}")
    if file.name.endswith(".pickle.pbz2"):
        return Table(_OfficialColumns(file))
    try:
        with file.open("rb") as raw:
            data = raw.read()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
        return Table(_read(text))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a CSV: {brief(str(error))}") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no benchmark table: {error}") from None


def _read(text: str) -> dict[str, Values]:
    """The columns of a table's text (``ValueError`` without the file's name if it is no table)."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    names = [name for name in header if _COLUMN.fullmatch(name)]
    if "arch" not in header or not names:
        raise ValueError(
            f"its first line is {brief(','.join(header))}, without a column arch or one such as "
            "cifar10_test_ep200"
        )
    if len(set(header)) != len(header):
        raise ValueError("it has two columns of one name")
    arch, places = header.index("arch"), [header.index(name) for name in names]
    numbers = {text: index for index, text in enumerate(_texts())}
    values = np.full((ARCHITECTURES, len(names)), np.nan)
    seen = np.zeros(ARCHITECTURES, dtype=bool)
    for row in reader:
        line = f"line {reader.line_num}"
        if len(row) != len(header):
            raise ValueError(f"{line} has {len(row)} fields, the first one {len(header)}")
        index = numbers.get(row[arch])
        if index is None:
            raise ValueError(f"{line}: {brief(row[arch])} is no architecture of NAS-Bench-201")
        if seen[index]:
            raise ValueError(f"{line}: {row[arch]} has been there before")
        seen[index] = True
        try:
            values[index] = [float(row[place]) for place in places]
        except ValueError as error:
            raise ValueError(f"{line}: {error}") from None
        if not all(0 <= value <= 100 for value in values[index]):  # nor is any nan
            raise ValueError(f"{line} has an accuracy outside 0 and 100")
    if not seen.all():
        missing = Genotype.from_index(int(seen.argmin()))
        raise ValueError(
            f"it has {int(seen.sum())} of the {ARCHITECTURES} architectures; {missing} is missing"
        )
    return {name: values[:, place] for place, name in enumerate(names)}


def _texts() -> Iterator[str]:
    """The text of each architecture, by index; many times faster than a genotype each."""
    form = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    return (form.format(*names) for names in product(PRIMITIVES, repeat=len(EDGES)))


class _OfficialColumns(Mapping[str, Values]):
    """Columns of the official files, each read when it is asked for: the mean of all seeds."""

    def __init__(self, path: Path) -> None:
        try:
            import nats_bench
        except ImportError:
            raise ValueError(
                "official NATS-Bench files are read by the package nats-bench; "
                "pip install darts-nas[nats]"
            ) from None
        try:
            # An archive is read file by file, one file as a whole.
            self._api = nats_bench.create(str(path), "tss", fast_mode=path.is_dir(), verbose=False)
        except Exception as error:  # of whatever kind unpickling raises
            _refuse(path, error)
        self._path = path
        self._read: dict[str, Values] = {}
        self._keys = {
            f"{dataset}_{split}_ep{epochs}": (*official, str(epochs))
            for (dataset, split), official in _OFFICIAL.items()
            for epochs in _EPOCHS
        }

    def __getitem__(self, name: str) -> Values:
        dataset, key, epochs = self._keys[name]
        if name not in self._read:
            try:
                self._read[name] = np.array(
                    [
                        self._api.get_more_info(text, dataset, hp=epochs, is_random=False)[key]
                        for text in _texts()
                    ]
                )
            except Exception as error:
                _refuse(self._path, error)
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._keys  # Mapping's own would read the column

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _refuse(path: Path, error: Exception) -> NoReturn:
    raise ValueError(
        f"nats-bench cannot read {str(path)!r}: {type(error).__name__}: {brief(str(error))}"
    ) from None
