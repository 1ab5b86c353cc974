"""Studies whose trials cost nothing, or seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from darts.config import compose
from darts.spaces.nas201 import Genotype
from darts.tuning.study import Plan, check_study, plan_of

SHORT = (
    *("dataset=synthetic", "dataset.samples=48", "genotype=DARTS_V2", "loader.batch_size=8"),
    *("space.channels=2", "space.cells=1", "epochs=2"),
)
RATES = "parameters.optimizer.lr={low: 0.01, high: 0.1, log: true}"


def accuracy(index: int) -> float:
    """Of the made-up table: by the digits of an architecture's number, some better than others."""
    digits = [index // 5**place % 5 for place in range(6)]
    return 50 + sum((3, 4, 1, 8, 2)[digit] * (place + 1) / 5 for place, digit in enumerate(digits))


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark in which the test accuracy is a function of the validation accuracy."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    lines = ["arch,cifar10_val_ep12,cifar10_test_ep200"]
    for index in range(15625):
        value = accuracy(index)
        lines.append(f"{Genotype.from_index(index)},{value - 10:.4f},{value:.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Plan]:
    """Makes the checked plan of a study from its command line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def make(*overrides: str) -> Plan:
        config: Any = compose("tune", [*overrides])
        check_study(config)
        return plan_of(config, tmp_path / "study")

    return make


@pytest.fixture
def short() -> list[str]:
    """Overrides of a study whose trials train for a second."""
    return [*SHORT, RATES, "budget.trials=4"]
