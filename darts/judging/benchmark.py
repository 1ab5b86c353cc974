"""True scores of architectures, looked up in a benchmark table."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import NamedTuple

from darts.config import BenchmarkConfig
from darts.judging.benchmark_table import BenchmarkTable, Column
from darts.spaces import AnyGenotype, Space


class TableFormat(NamedTuple):
    """A kind of benchmark table: how to read it, and the space that it covers."""

    module: str  # its function ``load`` reads a table; imported on use, together with the space
    space: str
    options: Mapping[str, str]  # fields that restrict the space to the architectures of the table


TABLES: dict[str, TableFormat] = {
    "nas201": TableFormat("darts.judging.nas201_table", "nas201", {}),
    "macro": TableFormat("darts.judging.macro_table", "macro", {"skeleton": "nasbench"}),
}
"""The benchmark tables by the name that ``Space.benchmark`` declares."""


class Benchmark:
    """True test accuracy, rank and regret of architectures.

    Args:
        table: Table with the accuracies.
        dataset: Data set of the runs that the accuracies come from.
        epochs: Epochs of these runs; None for the usual number of the benchmark.
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
            needed = " or ".join(
                " ".join([f"space={t.space}", *(f"space.{k}={v}" for k, v in t.options.items())])
                for t in TABLES.values()
            )
            raise ValueError(f"benchmark.table needs {needed}, not space={space.name}")
        load = importlib.import_module(TABLES[space.benchmark].module).load
        return cls(load(config.table), config.dataset, config.epochs)

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
