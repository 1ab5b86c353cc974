"""A predictor of the rank of architectures: an ensemble over encodings, with its uncertainty.

References:
    White et al., "BANANAS", arXiv:1910.11858, section 3: ensembles of predictors for search.
    White et al., "How Powerful are Performance Predictors in Neural Architecture Search?",
    arXiv:2104.01177, section 4: training-free scores as inputs of a predictor.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from darts.judging.rankings import Values, combined, rank_fractions
from darts.spaces.parameters import Choice, Parameter, Point

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

Rows = NDArray[np.float32]

MIN_POINTS = 10  # architectures with a truth that a predictor needs

_TREES = 100
_MAX_FEATURES = 0.5  # share of the columns that a split may choose from
_MAX_LENGTH_SCALES = 24  # columns up to which each column has its own length scale


def predict(
    parameters: Sequence[Parameter],
    points: Sequence[Point],
    scores: Mapping[str, Values],
    truth: Values,
    known: NDArray[np.bool_],
    *,
    seed: int = 0,
) -> tuple[Values, Values]:
    """Predict the rank of all architectures from the truth of some.

    The members of the ensemble are a random forest and a Gaussian process for each of three
    encodings: the operations, the ranks of the scores and of their combination, and both. They
    learn ranks, since the accuracies of a few bad architectures would dominate all others.

    Args:
        parameters: Parameters of the space.
        points: Architectures as points of the parameters, n of them.
        scores: Cheap scores ``(n,)`` by name; may be empty.
        truth: True scores ``(n,)``; only those of known architectures are read.
        known: Which architectures have a truth, ``(n,)``; at least ``MIN_POINTS``.
        seed: Seed of the random forests.

    Returns:
        Mean and standard deviation of the members' predictions, each ``(n,)``: the share of the
        known architectures that are not better.
    """
    from sklearn.ensemble import RandomForestRegressor

    operations = encode(parameters, points)
    encodings = [operations]
    if scores:
        columns = [*scores.values(), combined(scores)]
        ranks = np.stack([rank_fractions(c) for c in columns], axis=1).astype(np.float32)
        encodings += [ranks, np.concatenate([operations, ranks], axis=1)]
    targets = rank_fractions(truth[known])
    predictions = []
    for rows in encodings:
        forest = RandomForestRegressor(_TREES, max_features=_MAX_FEATURES, random_state=seed)
        predictions.append(forest.fit(rows[known], targets).predict(rows))
        process = _gaussian_process(rows[known], targets)
        predictions.append(process.predict(rows.astype(np.float64)))
    members = np.stack(predictions)
    return members.mean(0), members.std(0)


def encode(parameters: Sequence[Parameter], points: Sequence[Point]) -> Rows:
    """Return points as rows ``(points, columns)``.

    A number is encoded by how far along its range it lies, a choice by one column per value
    (one-hot). A conditional parameter has one more column, which is 1 where it is inactive.
    """
    columns = [column for parameter in parameters for column in _columns(parameter, points)]
    return np.stack(columns, axis=1).astype(np.float32)


def _columns(parameter: Parameter, points: Sequence[Point]) -> list[list[float]]:
    name, domain = parameter.name, parameter.domain
    columns: list[list[float]]
    if isinstance(domain, Choice):
        only = [Choice((value,)) for value in domain.values]  # compares types, because True == 1
        columns = [[name in p and p[name] in choice for p in points] for choice in only]
    else:
        # An inactive number gets the middle of its range.
        values = [cast("float | None", p.get(name)) for p in points]
        columns = [[0.5 if value is None else domain.fraction(value) for value in values]]
    if parameter.conditions:
        columns.append([name not in p for p in points])
    return columns


def _gaussian_process(rows: Rows, targets: Values) -> GaussianProcessRegressor:
    """Fit a Gaussian process with a Matern kernel and noise.

    Up to ``_MAX_LENGTH_SCALES`` columns have one length scale each; more columns share one.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    columns = rows.shape[1]
    # sqrt(columns / 6): root mean square distance of two uniform random rows in [0, 1].
    scales = np.ones(columns) if columns <= _MAX_LENGTH_SCALES else np.sqrt(columns / 6)
    matern = Matern(scales, length_scale_bounds=(0.05, 100), nu=2.5)
    noise = WhiteKernel(0.1, noise_level_bounds=(1e-5, 10))
    kernel = ConstantKernel(1, (1e-2, 1e2)) * matern + noise
    process = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings():
        # A length scale reaches its bound if the values do not depend on the column.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(rows.astype(np.float64), targets)
