"""The predictor ranks architectures from a few truths, operations and cheap scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from darts.judging.predictor import MIN_POINTS, predict
from darts.judging.rankings import agreement
from darts.spaces import SPACES

COUNT, KNOWN = 120, 40


def example() -> tuple[list, list, np.ndarray]:
    """Return parameters, points and a truth that counts convolutions of nas201 cells."""
    space = SPACES["nas201"]()
    generator = torch.Generator().manual_seed(0)
    points = [space.encode(space.random(generator)) for _ in range(COUNT)]
    noise = np.random.default_rng(0).normal(size=COUNT)
    truth = np.array([sum("conv" in str(v) for v in point.values()) for point in points])
    return space.parameters(), points, truth + 0.1 * noise


def known() -> np.ndarray:
    return np.arange(COUNT) < KNOWN


def test_operations_predict_a_truth_that_depends_on_them() -> None:
    parameters, points, truth = example()
    mean, deviation = predict(parameters, points, {}, truth, known())
    assert agreement(mean[KNOWN:], truth[KNOWN:]).spearman > 0.7
    assert mean.shape == deviation.shape == (COUNT,)
    assert (deviation >= 0).all()


@pytest.mark.slow
def test_scores_predict_a_truth_that_operations_cannot() -> None:
    parameters, points, _ = example()
    truth = np.random.default_rng(1).normal(size=COUNT)
    scores = {"good": truth**3, "useless": np.random.default_rng(2).normal(size=COUNT)}
    mean, _ = predict(parameters, points, scores, truth, known())
    blind, _ = predict(parameters, points, {}, truth, known())
    assert agreement(mean[KNOWN:], truth[KNOWN:]).spearman > 0.7
    assert abs(agreement(blind[KNOWN:], truth[KNOWN:]).spearman) < 0.3


def test_only_known_truths_are_read() -> None:
    parameters, points, truth = example()
    hidden = np.where(known(), truth, np.nan)
    same = [predict(parameters, points, {}, t, known())[0] for t in (truth, hidden)]
    assert same[0].tolist() == same[1].tolist()


def test_too_few_truths_are_refused() -> None:
    parameters, points, truth = example()
    few = np.arange(COUNT) < MIN_POINTS - 1
    with pytest.raises(ValueError, match=f"needs {MIN_POINTS} points, there are 9"):
        predict(parameters, points, {}, truth, few)
