"""Extrapolation is exact for its own family of curves, and a mean over them with noise."""

from __future__ import annotations

import numpy as np
import pytest

from darts.strategies.judges import MIN_EPOCHS, extrapolate

EPOCHS = np.arange(1, 11)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("asymptote", "scale"), [(0.9, -0.6), (0.3, 2.0), (25.0, 400.0)])
def test_power_laws_continue_exactly(exponent: float, asymptote: float, scale: float) -> None:
    curve = asymptote + scale * EPOCHS**-exponent
    expected = asymptote + scale * 200.0**-exponent
    assert extrapolate(curve.tolist(), 200) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_the_prediction_is_the_mean_over_a_fine_grid_of_all_parameters() -> None:
    """The marginal likelihood is compared with sums over a grid of a, b and the deviation."""
    scores = np.array([0.40, 0.52, 0.55, 0.60, 0.61])
    t = np.arange(1, 6)
    a, b = np.meshgrid(np.linspace(0.2, 1.6, 281), np.linspace(-1.4, 0.2, 321), indexing="ij")
    total, mean = 0.0, 0.0
    for exponent in np.linspace(0.25, 2.0, 36):
        squares = np.zeros_like(a)
        for epoch, score in zip(t, scores, strict=True):
            squares += (score - a - b * float(epoch) ** -exponent) ** 2
        likelihood = np.zeros_like(a)
        for log_deviation in np.linspace(np.log(1e-3), np.log(1.0), 200):
            likelihood += np.exp(-5 * log_deviation - squares / 2 * np.exp(-2 * log_deviation))
        total += likelihood.sum()
        mean += (likelihood * (a + b * 40.0**-exponent)).sum()
    assert extrapolate(scores.tolist(), 40) == pytest.approx(mean / total, abs=0.01)


def test_short_and_undefined_curves_are_refused() -> None:
    with pytest.raises(ValueError, match="3 epochs is too short; 4 are needed"):
        extrapolate([0.1] * (MIN_EPOCHS - 1), 10)
    with pytest.raises(ValueError, match="infinite or undefined"):
        extrapolate([0.1, 0.2, float("nan"), 0.3], 10)
