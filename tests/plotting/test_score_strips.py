"""Figure of the scores of compared methods, with confidence intervals of the mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darts.judging.statistics import Interval, bootstrap
from darts.plotting.repetitions import draw_scores


def test_each_score_is_a_point_and_a_known_interval_is_a_bar() -> None:
    scores = {"a": [[0.1, 0.2], [0.3, 0.5], [0.2, 0.2], [0.4, 0.3]], "b": [[0.6], [0.7]]}
    intervals = {name: bootstrap(searches) for name, searches in scores.items()}
    axes: Any = draw_scores(scores, intervals, label="test accuracy").axes[0]
    points = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
    assert [list(map(float, point)) for point in points] == [*scores["a"], *scores["b"]]
    means = [float(line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "D"]
    assert means == [intervals["a"].mean, intervals["b"].mean]
    (bar,) = [line for line in axes.lines if str(line.get_gid()).startswith("interval-")]
    np.testing.assert_allclose(bar.get_ydata(), [intervals["a"].low, intervals["a"].high])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b"]


def test_no_scores_raises() -> None:
    with pytest.raises(ValueError, match="no scores"):
        draw_scores({}, {"a": Interval(0.0, None, None, 1)}, label="x")
