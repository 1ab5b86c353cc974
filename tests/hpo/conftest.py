"""Fixtures that plan studies with fast trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from darts.config import compose
from darts.hpo.config_checks import check_config
from darts.hpo.study import StudyPlan, make_plan

SHORT = (
    "dataset=synthetic",
    "dataset.samples=48",
    "genotype=DARTS_V2",
    "loader.batch_size=8",
    "space.channels=2",
    "space.cells=1",
    "epochs=2",
)
RATES = "parameters.optimizer.lr={low: 0.01, high: 0.1, log: true}"


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., StudyPlan]:
    """Return a function that checks and plans a study, given its command line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def make(*overrides: str) -> StudyPlan:
        config: Any = compose("tune", [*overrides])
        check_config(config)
        return make_plan(config, tmp_path / "study")

    return make


@pytest.fixture
def short() -> list[str]:
    """Return the overrides of a study whose trials train for about a second."""
    return [*SHORT, RATES, "budget.trials=4"]
