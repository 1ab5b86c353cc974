"""The hypervolume of ``experiments/front_study.py``."""

from __future__ import annotations

import front_study
import numpy as np
import pytest


def test_the_hypervolume_is_the_share_of_dominated_places() -> None:
    """Random places show which part of the area the points dominate."""
    draw = np.random.default_rng(0)
    points = np.column_stack([draw.uniform(2, 22, 12), draw.uniform(75, 95, 12)])
    area = front_study.hypervolume(points.tolist(), 20.0, 80.0)
    places = np.column_stack([draw.uniform(0, 20, 40_000), draw.uniform(80, 100, 40_000)])
    below = points[:, None] <= places[None] + 1e-12
    dominated = (below[..., 0] & (points[:, None, 1] >= places[None, :, 1])).any(axis=0)
    assert area == pytest.approx(400 * dominated.mean(), rel=0.02)
    assert front_study.hypervolume([(30.0, 99.0), (5.0, 79.0)], 20.0, 80.0) == 0
