"""True scores of a search's current genotype, looked up in a benchmark table."""

from __future__ import annotations

from darts.config import BenchmarkConfig
from darts.judging import nas201_table
from darts.spaces import AnyGenotype


class Benchmark:
    """True test accuracy, rank and regret of architectures.

    They refer to a training on ``dataset`` for ``epochs`` epochs. A table without the column of
    these accuracies raises ``ValueError``.
    """

    def __init__(self, table: nas201_table.Table, dataset: str, epochs: int) -> None:
        self._table = table
        self._column: nas201_table.Column = {"dataset": dataset, "split": "test", "epochs": epochs}
        self._table.optimum(**self._column)  # raises if the column does not exist

    @classmethod
    def from_config(cls, config: BenchmarkConfig, space: str) -> Benchmark | None:
        """Load the configured table, if any; ``ValueError`` if it is not a table of ``space``."""
        if config.table is None:
            return None
        if space != "nas201":
            raise ValueError(f"benchmark.table needs space=nas201, not space={space}")
        return cls(nas201_table.load(config.table), config.dataset, config.epochs)

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return ``true_accuracy`` and ``true_regret`` as fractions and ``true_rank`` (best: 1)."""
        arch = str(genotype)
        return {
            "true_accuracy": self._table.accuracy(arch, **self._column) / 100,
            "true_rank": self._table.rank(arch, **self._column),
            "true_regret": self._table.regret(arch, **self._column) / 100,
        }
