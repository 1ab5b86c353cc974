"""Extrapolation of learning curves: the score of a longer training, from the first epochs of it.

The curve is ``y(t) = a + b t^-c``, one of the families of curves in Domhan et al., "Speeding up
Automatic Hyperparameter Optimization of Deep Neural Networks by Extrapolation of Learning Curves",
IJCAI 2015. They sample the parameters of a mixture of several families. Here the exponent ``c`` is
on a grid, and the other two parameters are integrated out exactly: a few epochs do not determine
more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_EPOCHS = 4
"""A power law has three parameters; a fourth score shows which exponents fit."""

_EXPONENTS = np.linspace(0.25, 2.0, 36)
_MIN_DEVIATION = 1e-6  # of the residuals, relative to the largest score: no fit is perfect


def extrapolate(scores: Sequence[float], epoch: int) -> float:
    """Predict the score after ``epoch`` epochs.

    The prediction is the mean over the exponents, weighted by their marginal likelihood. This is
    the likelihood of the scores with normal noise, integrated over ``a``, ``b`` and the logarithm
    of the deviation with flat priors. Higher or lower scores may be better.

    Args:
        scores: Scores after the epochs 1, 2, ...
        epoch: Epoch of the predicted score, counted from 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    count = len(values)
    if count < MIN_EPOCHS:
        raise ValueError(
            f"a learning curve of {count} epochs is too short; {MIN_EPOCHS} are needed"
        )
    if not np.isfinite(values).all():
        raise ValueError("a learning curve with infinite or undefined scores has no continuation")
    epochs = np.arange(1, count + 1)
    floor = count * (_MIN_DEVIATION * max(np.abs(values).max(), _MIN_DEVIATION)) ** 2
    predictions, log_weights = np.empty_like(_EXPONENTS), np.empty_like(_EXPONENTS)
    for n, exponent in enumerate(_EXPONENTS):
        columns = np.stack([np.ones(count), epochs**-exponent], axis=1)
        parameters, *_ = np.linalg.lstsq(columns, values, rcond=None)
        residual = ((values - columns @ parameters) ** 2).sum() + floor
        _, log_determinant = np.linalg.slogdet(columns.T @ columns)
        log_weights[n] = -0.5 * log_determinant - 0.5 * (count - 2) * np.log(residual)
        predictions[n] = parameters @ [1.0, float(epoch) ** -exponent]
    weights = np.exp(log_weights - log_weights.max())
    return float(weights @ predictions / weights.sum())
