"""What a table of trained architectures says about the one that a search stands at."""

from __future__ import annotations

from typing import Any

from darts.judging import nas201_table


class Truth:
    """True accuracy and rank of architectures.

    Args:
        path: of the table.
        dataset: one of its data sets.
        epochs: of the training it tells of.

    Raises:
        ValueError: in one line, for a table that is none, or a data set it does not know.
    """

    def __init__(self, path: str, dataset: str, epochs: int) -> None:
        self._table = nas201_table.load(path)
        self._where = {"dataset": dataset, "split": "test", "epochs": epochs}
        self._table.optimum(**self._where)  # refuses what the table does not hold

    @classmethod
    def of(cls, config: Any, space: str) -> Truth | None:
        """As a configuration asks for it; None without a table.

        Raises:
            ValueError: for another space than the table's, too.
        """
        if config.table is None:
            return None
        if space != "nas201":
            raise ValueError(
                f"benchmark.table knows the space nas201; choose space=nas201, not {space}"
            )
        return cls(config.table, config.dataset, config.epochs)

    def of_genotype(self, genotype: Any) -> dict[str, float]:
        """``true_accuracy`` as a fraction, ``true_rank`` (1 is best) and ``true_regret``."""
        arch = str(genotype)
        return {
            "true_accuracy": self._table.accuracy(arch, **self._where) / 100,
            "true_rank": self._table.rank(arch, **self._where),
            "true_regret": self._table.regret(arch, **self._where) / 100,
        }
