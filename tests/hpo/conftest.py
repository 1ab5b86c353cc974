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


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., StudyPlan]:
    """Return a function that checks and plans a study, given its command line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def make(*overrides: str) -> StudyPlan:
        config: Any = compose("tune", [*overrides])
        check_config(config)
        return make_plan(config, tmp_path / "study")

    return make
