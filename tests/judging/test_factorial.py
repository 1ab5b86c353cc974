"""Gains of the factorial design, compared with NumPy and SciPy."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from darts.judging.factorial import Estimate, factorial_effects

RNG = np.random.default_rng(0)
DD, BD, DB, BB = (RNG.normal(mean, 0.5, 6) for mean in (90.0, 91.0, 92.0, 94.5))
SCORES = {
    ("default", "default"): dict(enumerate(DD)),
    ("best", "default"): dict(enumerate(BD)),
    ("default", "best"): dict(enumerate(DB)),
    ("best", "best"): dict(enumerate(BB)),
}


@pytest.mark.parametrize("higher", [True, False])
def test_gains_are_paired_differences(higher: bool) -> None:
    scalars = factorial_effects(SCORES, higher_is_better=higher).as_scalars()
    sign = 1 if higher else -1
    expected = {
        "architecture": BD - DD,
        "hyperparameters": DB - DD,
        "both": BB - DD,
        "interaction": (BB - DD) - (BD - DD) - (DB - DD),
    }
    for name, values in expected.items():
        values = sign * values
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert scalars[f"gain_{name}"] == pytest.approx(values.mean())
        assert scalars[f"gain_{name}_deviation"] == pytest.approx(np.std(values, ddof=1))
        assert scalars[f"gain_{name}_count"] == 6
        assert scalars[f"gain_{name}_low"] == pytest.approx(low)
        assert scalars[f"gain_{name}_high"] == pytest.approx(high)
    assert scalars["score_best_default"] == pytest.approx(BD.mean())
    assert scalars["score_best_default_deviation"] == pytest.approx(np.std(BD, ddof=1))


def test_a_gain_uses_only_common_seeds() -> None:
    scores = {
        ("default", "default"): {1: 1.0, 2: 5.0, 3: 100.0},
        ("best", "default"): {2: 7.0, 1: 2.0, 9: -100.0},
        ("default", "best"): {8: 1.0},
        ("best", "best"): {},
    }
    found = factorial_effects(scores)
    assert list(found.gains) == ["architecture"]
    assert found.gains["architecture"] == Estimate.from_values([1.0, 2.0])
    assert list(found.scores) == ["default_default", "best_default", "default_best"]


def test_one_seed_has_no_interval() -> None:
    found = factorial_effects({("default", "default"): {1: 0.5}, ("best", "best"): {1: 0.25}})
    assert found.as_scalars() == {
        "gain_both": -0.25,
        "gain_both_count": 1,
        "score_default_default": 0.5,
        "score_default_default_count": 1,
        "score_best_best": 0.25,
        "score_best_best_count": 1,
    }
    assert json.loads(json.dumps(dataclasses.asdict(found)))["gains"]["both"]["low"] is None


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "with default hyperparameters has no score"),
        ({("best", "best"): {1: 1.0}}, "with default hyperparameters has no score"),
        ({("default", "default"): {1: 1.0}}, "only the default has scores"),
    ],
)
def test_incomplete_designs_are_refused(scores: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        factorial_effects(scores)
