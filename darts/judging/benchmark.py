"""True scores of a search's current genotype, looked up in a benchmark table."""

from __future__ import annotations

from darts.config import BenchmarkConfig
from darts.judging import nas201_table
from darts.spaces import AnyGenotype


class Benchmark:
    """True test accuracy, rank and regret of architectures.

    Args:
        table: Table with the accuracies.
        dataset: Data set of the trainings that the accuracies come from.
        epochs: Epochs of these trainings.

    Raises:
        ValueError: If the table has no test accuracies of such trainings.
    """

    def __init__(self, table: nas201_table.Table, dataset: str, epochs: int) -> None:
        self._table = table
        self._column: nas201_table.Column = {"dataset": dataset, "split": "test", "epochs": epochs}
        self._table.optimum(**self._column)  # raises if the column does not exist

    @classmethod
    def from_config(cls, config: BenchmarkConfig, space: str) -> Benchmark | None:
        """Load the configured table, or return None if there is none.

        Raise ``ValueError`` if the file is not a table, or if ``space`` is not ``nas201``.
        """
        if config.table is None:
            return None
        if space != "nas201":
            raise ValueError(f"benchmark.table needs space=nas201, not space={space}")
        return cls(nas201_table.load(config.table), config.dataset, config.epochs)

    def scores(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return ``true_accuracy``, ``true_regret`` and ``true_rank`` of a genotype.

        Accuracy and regret are fractions. The regret is the difference to the best accuracy in the
        table; the best rank is 1.
        """
        arch = str(genotype)
        return {
            "true_accuracy": self._table.accuracy(arch, **self._column) / 100,
            "true_rank": self._table.rank(arch, **self._column),
            "true_regret": self._table.regret(arch, **self._column) / 100,
        }
