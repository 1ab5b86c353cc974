"""The predictor ranks architectures from a few truths, operations and cheap scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from darts.judging.predictor import encode, predict
from darts.judging.rankings import agreement
from darts.spaces import SPACES
from darts.spaces.parameters import Choice, Parameter, Point, Range

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


def test_numbers_are_scaled_and_choices_are_one_hot() -> None:
    space = [
        Parameter("operation", Choice(("conv", True, 1))),
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("layers", Range(1, 4, integer=True)),
    ]
    points: list[Point] = [
        {"operation": True, "rate": 1e-2, "layers": 4},
        {"operation": 1, "rate": 1e-4, "layers": 1},
    ]
    expected = [[0, 1, 0, 0.5, 1], [0, 0, 1, 0, 0]]
    np.testing.assert_allclose(encode(space, points), expected, atol=1e-6)


def test_inactive_parameters_have_a_column_of_their_own() -> None:
    space = [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("momentum", Range(0.0, 0.9), (("kind", ("sgd",)),)),
        Parameter("nesterov", Choice((True, False)), (("kind", ("sgd",)),)),
    ]
    points: list[Point] = [{"kind": "adam"}, {"kind": "sgd", "momentum": 0.9, "nesterov": True}]
    expected = [[0, 1, 0.5, 1, 0, 0, 1], [1, 0, 1, 0, 1, 0, 0]]
    np.testing.assert_allclose(encode(space, points), expected, atol=1e-6)
