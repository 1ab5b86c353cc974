"""Shares of the variance of a model's predictions that parameters explain.

References:
    Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance",
    ICML 2014: functional ANOVA of a model over a space.
    Sobol', "Global sensitivity indices for nonlinear mathematical models and their Monte Carlo
    estimates", 2001.
    Saltelli et al., "Variance based sensitivity analysis of model output. Design and estimator for
    the total sensitivity index", Computer Physics Communications 181, 2010.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from darts.judging.encoding import Encoding, power_of_two, uniforms

Array = NDArray[np.float64]
Predict = Callable[[NDArray[np.float32]], Array]

_DRAWS = 4096  # random points that estimate the variance
_ROWS = 60_000  # approximate number of predictions for the effects of all parameters
_STRATA = (16, 64)  # least and most values per range; fewer parameters get more values each


def first_order_shares(encoding: Encoding, predict: Predict, seed: int) -> Array:
    """Return the share of the variance that each parameter explains alone, ``(parameters,)``.

    For each value of a parameter, the prediction is averaged over draws of the other parameters,
    with the same draws for all values. The share is the variance of these means, minus the bias
    from the finite number of draws. All shares are 0 if the predictions are constant.
    """
    columns = len(encoding.names)
    levels = power_of_two(_ROWS / (256 * columns), *_STRATA)
    strata = [encoding.strata(index, levels) for index in range(columns)]
    draws_per_value = _ROWS / sum(len(codes) for codes in strata)
    draws = encoding.draws(uniforms(_DRAWS, columns, seed))
    base = draws[: power_of_two(draws_per_value, 32, _DRAWS)]
    blocks = [draws]
    for index, codes in enumerate(strata):
        block = np.tile(base, (len(codes), 1))
        block[:, index] = np.repeat(codes, len(base))
        blocks.append(block)
    predictions = predict(encoding.rows(np.concatenate(blocks)))
    unconditional, remaining = predictions[:_DRAWS], predictions[_DRAWS:]
    if _is_constant(unconditional):
        return np.zeros(columns)
    variances = []
    for codes in strata:
        count = len(codes) * len(base)
        variances.append(_variance_of_means(remaining[:count].reshape(len(codes), -1)))
        remaining = remaining[count:]
    shares: Array = np.clip(np.array(variances) / unconditional.var(), 0, 1)
    return shares


def group_shares(
    encoding: Encoding, predict: Predict, groups: Sequence[Sequence[int]], seed: int
) -> Array | None:
    """Return the share of the variance that each group of parameters explains alone, ``(groups,)``.

    ``groups`` contains indices of parameters. The shares are Sobol' indices, estimated by
    pick-freeze: from predictions for two sets of draws, and for each set with the parameters of one
    group copied from the other set. Return None if the predictions are constant.
    """
    columns = len(encoding.names)
    numbers = uniforms(_DRAWS, 2 * columns, seed)
    first, second = encoding.draws(numbers[:, :columns]), encoding.draws(numbers[:, columns:])
    blocks = [first, second]
    for group in groups:
        for target, source in ((first, second), (second, first)):
            block = target.copy()
            block[:, group] = source[:, group]
            blocks.append(block)
    predictions = predict(encoding.rows(np.concatenate(blocks))).reshape(len(blocks), -1)
    both = predictions[:2]
    if _is_constant(both):
        return None
    # Centering removes the estimator's error that is proportional to the mean.
    a, b, *mixed = predictions - both.mean()
    pairs = zip(mixed[::2], mixed[1::2], strict=True)
    variances = [(np.mean(b * (ab - a)) + np.mean(a * (ba - b))) / 2 for ab, ba in pairs]
    shares: Array = np.clip(np.array(variances) / both.var(), 0, 1)
    return shares


def _variance_of_means(table: Array) -> float:
    """Return the variance over values of the mean prediction, from a table ``(values, draws)``.

    The interaction of values and draws adds noise to means over finitely many draws. The expected
    square of this noise is subtracted.
    """
    by_value = table.mean(axis=1, keepdims=True)
    by_draw = table.mean(axis=0, keepdims=True)
    interaction = table - by_value - by_draw + table.mean()
    return float(by_value.var() - np.mean(interaction**2) / (table.shape[1] - 1))


def _is_constant(predictions: Array) -> bool:
    """Return whether predictions differ by at most rounding errors."""
    return bool(predictions.var() <= 1e-18 * np.mean(predictions**2))
