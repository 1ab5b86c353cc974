"""Whose doing the variance of a model's predictions is.

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

_DRAWS = 4096
_ROWS = 60_000  # of the predictions for the effects of all parameters together
_STRATA = (16, 64)  # values of a range, many where there are few parameters


def first_orders(encoding: Encoding, predict: Predict, seed: int) -> Array:
    """The share of the variance that each parameter explains alone, ``(parameters,)``.

    For each value of a parameter the mean prediction over draws of the others, the same draws for
    all values; the variance of these means, less what it owes to the number of draws.
    """
    columns = len(encoding.names)
    fine = power_of_two(_ROWS / (256 * columns), *_STRATA)
    strata = [encoding.strata(number, fine) for number in range(columns)]
    most = _ROWS / sum(len(codes) for codes in strata)
    draws = encoding.draws(uniforms(_DRAWS, columns, seed))
    base = draws[: power_of_two(most, 32, _DRAWS)]
    blocks = [draws]
    for number, codes in enumerate(strata):
        block = np.tile(base, (len(codes), 1))
        block[:, number] = np.repeat(codes, len(base))
        blocks.append(block)
    predictions = predict(encoding.rows(np.concatenate(blocks)))
    whole, rest = predictions[:_DRAWS], predictions[_DRAWS:]
    if _none(whole):
        return np.zeros(columns)
    found = []
    for codes in strata:
        count = len(codes) * len(base)
        found.append(_between(rest[:count].reshape(len(codes), -1)))
        rest = rest[count:]
    return np.clip(np.array(found) / whole.var(), 0, 1)


def group_shares(
    encoding: Encoding, predict: Predict, groups: Sequence[Sequence[int]], seed: int
) -> Array | None:
    """The share of the variance that each group of parameters explains alone, ``(groups,)``.

    None where there is no variance. Sobol' indices by pick-freeze: two sets of draws, and for each
    group each set with the group's parameters taken from the other.
    """
    columns = len(encoding.names)
    numbers = uniforms(_DRAWS, 2 * columns, seed)
    one, other = encoding.draws(numbers[:, :columns]), encoding.draws(numbers[:, columns:])
    blocks = [one, other]
    for group in groups:
        for into, source in ((one, other), (other, one)):
            block = into.copy()
            block[:, group] = source[:, group]
            blocks.append(block)
    predictions = predict(encoding.rows(np.concatenate(blocks))).reshape(len(blocks), -1)
    both = predictions[:2]
    if _none(both):
        return None
    # Centerd, the estimator loses what it otherwise owes to the mean.
    a, b, *mixed = predictions - both.mean()
    pairs = zip(mixed[::2], mixed[1::2], strict=True)
    found = [(np.mean(b * (ab - a)) + np.mean(a * (ba - b))) / 2 for ab, ba in pairs]
    return np.clip(np.array(found) / both.var(), 0, 1)


def _between(table: Array) -> float:
    """Variance of the mean prediction over values, from a table ``(values, draws)``.

    What values and draws do only together stays, as noise, in means over finitely many draws; the
    expectation of its square is subtracted.
    """
    by_value = table.mean(axis=1, keepdims=True)
    by_draw = table.mean(axis=0, keepdims=True)
    together = table - by_value - by_draw + table.mean()
    return float(by_value.var() - np.mean(together**2) / (table.shape[1] - 1))


def _none(predictions: Array) -> bool:
    """Whether predictions differ by rounding at most."""
    return bool(predictions.var() <= 1e-18 * np.mean(predictions**2))
