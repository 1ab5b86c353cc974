"""True scores of architectures, looked up in a benchmark table."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from darts.config import BenchmarkConfig
from darts.judging.benchmark_table import BenchmarkTable, Column
from darts.spaces import AnyGenotype, Space

TABLES: Mapping[str, Mapping[str, str]] = {
    "nas201": {"space": "nas201"},
    "macro": {"space": "macro", "skeleton": "nasbench"},
}
"""The space that each benchmark covers, with its fields, by the name that ``Space.benchmark``
declares. The module ``darts.judging.<name>_table`` reads the table."""


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
