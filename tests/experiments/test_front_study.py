"""The hypervolume of ``experiments/front_study.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    import front_study

    return front_study


def test_the_hypervolume_is_the_share_of_dominated_places(study: Any) -> None:
    """Random places show which part of the area the points dominate."""
    draw = np.random.default_rng(0)
    points = np.column_stack([draw.uniform(2, 22, 12), draw.uniform(75, 95, 12)])
    area = study.hypervolume(points.tolist(), 20.0, 80.0)
    places = np.column_stack([draw.uniform(0, 20, 40_000), draw.uniform(80, 100, 40_000)])
    below = points[:, None] <= places[None] + 1e-12
    dominated = (below[..., 0] & (points[:, None, 1] >= places[None, :, 1])).any(axis=0)
    assert area == pytest.approx(400 * dominated.mean(), rel=0.02)
    assert study.hypervolume([(30.0, 99.0), (5.0, 79.0)], 20.0, 80.0) == 0
