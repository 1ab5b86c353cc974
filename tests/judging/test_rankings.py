"""Agreement of rankings, and combination of scores by their ranks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from darts.judging.rankings import agreement, calibrated_weights, combined


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    pairs = list(itertools.combinations(range(len(a)), 2))
    x = np.array([np.sign(a[i] - a[j]) for i, j in pairs])
    y = np.array([np.sign(b[i] - b[j]) for i, j in pairs])
    return float((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()))


@pytest.mark.parametrize("seed", range(3))
def test_agreement_equals_direct_computations(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, truth = draw.integers(0, 8, 30).astype(float), draw.normal(size=30)
    found = agreement(scores, truth)
    ranks = [np.mean(np.flatnonzero(np.sort(scores) == s)) for s in scores]
    assert found.spearman == pytest.approx(np.corrcoef(ranks, truth.argsort().argsort())[0, 1])
    assert found.kendall == pytest.approx(kendall(scores, truth))


def test_top_recall_is_the_share_of_the_best_tenth_that_is_found() -> None:
    truth = np.arange(20.0)
    scores = truth.copy()
    scores[19] = -1  # the best architecture gets the worst score
    assert agreement(scores, truth).top_recall == 0.5
    assert agreement(truth, truth).top_recall == 1


def test_equal_scores_share_the_places_of_the_best_tenth() -> None:
    """The order of the architectures, which may be that of the truth, has no effect."""
    truth = np.arange(20.0)[::-1].copy()
    assert agreement(np.zeros(20), truth).top_recall == pytest.approx(0.1)
    scores = np.array([1.0] * 4 + [0.0] * 16)  # 2 of these 4 are in the best tenth
    assert agreement(scores, truth).top_recall == pytest.approx(0.5)
    assert agreement(truth, scores).top_recall == pytest.approx(0.5)


def test_nan_counts_as_the_worst_score() -> None:
    truth = np.array([1.0, 2.0, 3.0])
    assert agreement(np.array([np.nan, 1.0, 2.0]), truth).spearman == pytest.approx(1)


def test_a_negative_weight_reverses_a_ranking() -> None:
    scores = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([3.0, 2.0, 1.0])}
    logs = np.log([1 / 3, 2 / 3, 1])
    assert combined(scores, {"a": 2.0, "b": -1.0}) == pytest.approx(3 * logs)
    assert combined(scores) == pytest.approx(logs + logs[::-1])


def test_calibration_reverses_a_score_with_the_wrong_sign() -> None:
    draw = np.random.default_rng(0)
    truth = np.arange(40.0)
    scores = {"right": truth**3, "wrong": -truth, "useless": draw.normal(size=40)}
    weights = calibrated_weights(scores, truth)
    assert (weights["right"], weights["wrong"]) == (pytest.approx(1), pytest.approx(-1))
    assert abs(weights["useless"]) < 0.3
    assert agreement(combined(scores, weights), truth).spearman > 0.9
