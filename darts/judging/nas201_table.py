"""NAS-Bench-201: the accuracy of every architecture, from a table.

A table is a CSV file, plain or gzip-compressed, with a row for each of the 15,625 architectures:
a column ``arch``, and columns of accuracies in percent named ``<dataset>_<split>_ep<epochs>``, for
example ``cifar10_test_ep200``. A suffix names a second source of the same accuracy:
``cifar10_test_ep200_nats`` is requested with ``split="test_nats"``. Other columns are ignored.

Latencies are in a second CSV file: a column ``arch``, and a column of milliseconds per device.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326.
    Dong et al., "NATS-Bench", arXiv:2009.00437.
    Li et al., "HW-NAS-Bench", arXiv:2103.10584: latencies on devices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import ClassVar

from darts.judging.benchmark import BenchmarkTable, Layout, Values, read_table
from darts.spaces.any_genotype import AnyGenotype
from darts.spaces.genotype_text import check_name
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES, Genotype

_COLUMN = re.compile(r"\w+_[a-z]+_ep\d+(_\w+)?")
_LONGEST = 1e6  # milliseconds


class Table(BenchmarkTable):
    """Accuracies and, if a file has them, latencies of all architectures.

    Args:
        columns: Accuracies in percent ``(15625,)`` by column name, in the order of
            ``Genotype.index``.
        latencies: Milliseconds ``(15625,)`` by device, in the same order.
    """

    default_epochs: ClassVar[int] = 200

    def __init__(
        self, columns: Mapping[str, Values], latencies: Mapping[str, Values] | None = None
    ) -> None:
        super().__init__(columns)
        self._latencies = latencies or {}

    def index(self, arch: str | AnyGenotype) -> int:
        return (arch if isinstance(arch, Genotype) else Genotype.parse(str(arch))).index

    def arch(self, index: int) -> str:
        return str(Genotype.from_index(index))

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices with latencies."""
        return tuple(self._latencies)

    def latencies(self, device: str) -> Values:
        """Return the latencies of all architectures in milliseconds ``(15625,)``."""
        if not self._latencies:
            raise ValueError("the table has no latencies; load it with latency=FILE")
        return self._latencies[check_name("unknown device", device, self._latencies)]

    def latency(self, arch: str | AnyGenotype, device: str) -> float:
        """Return the latency of an architecture in milliseconds; errors as for ``latencies``."""
        return float(self.latencies(device)[self.index(arch)])


def load(path: str | Path, *, latency: str | Path | None = None) -> Table:
    """Read a CSV file, plain or gzip-compressed, or ``nasbench201.csv[.gz]`` in a directory.

    ``latency`` is the same for latencies, ``latency.csv[.gz]``; None for none.
    """
    if Path(path).name.endswith(".pickle.pbz2"):
        raise ValueError(
            f"{str(path)!r} is a pickle, which could run code; convert it to a CSV file as "
            "docs/methods.md describes"
        )
    latencies = None if latency is None else read_table(latency, _LATENCIES)
    return Table(read_table(path, _ACCURACIES), latencies)


def _texts() -> Iterator[str]:
    """Yield the text of each architecture in the order of its index.

    This is much faster than ``str`` of each genotype.
    """
    template = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    return (template.format(*names) for names in product(PRIMITIVES, repeat=len(EDGES)))


_ACCURACIES = Layout(
    "NAS-Bench-201",
    "nasbench201.csv",
    _texts,
    lambda header: {name: 100.0 for name in header if _COLUMN.fullmatch(name)},
    "a column arch and a column such as cifar10_test_ep200",
)
_LATENCIES = Layout(
    "NAS-Bench-201",
    "latency.csv",
    _texts,
    lambda header: {name: _LONGEST for name in header if name != "arch"},
    "a column arch and a column of milliseconds per device",
    kind="latency table",
)
