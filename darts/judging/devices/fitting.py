"""Fit a latency model to the measured latencies of a few networks.

There are two kinds of models. The additive model has a latency for each operation at each place of
a cell, which cannot be negative. The ridge regression reads features of the graph of the cell, so
it can learn that a device skips operations without effect, or runs branches in parallel. Neither
reads anything but the training networks: cross-validation on these chooses the features, the
strength of the regularization, and between the two kinds.

References:
    Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23: non-negative least
    squares.
    Hoerl and Kennard, "Ridge Regression", Technometrics 12, 1970.
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3.2: latency as a sum over operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darts.judging.devices.cell_features import Encoding, Features, encode
from darts.judging.devices.linear_model import Kind, LinearModel
from darts.spaces import AnyGenotype

Array = NDArray[np.float64]

FOLDS = 10
MIN_NETWORKS = 2 * FOLDS  # so that each fold has at least two networks
RIDGE_ENCODINGS: tuple[Encoding, ...] = ("operations", "graph", "edges")
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 7))  # of the regularization

Solver = Callable[[Array, Array], tuple[Array, float]]
"""Maps features ``(n, k)`` and latencies ``(n,)`` to weights ``(k,)`` and an intercept."""


@dataclass(frozen=True)
class Fit:
    """A fitted model and its error in the cross-validation, the root mean square in ms."""

    model: LinearModel
    error: float


def fit_latency(
    genotypes: Sequence[AnyGenotype], latencies: Array, *, device: str, seed: int = 0
) -> dict[Kind, Fit]:
    """Fit both kinds of models.

    Args:
        genotypes: Genotypes of one space, n of them.
        latencies: Their latencies in milliseconds, ``(n,)``.
        device: Name of the device.
        seed: Seed of the folds of the cross-validation.

    Returns:
        The best model of each kind, the kind with the smaller error in the cross-validation first.

    Raises:
        ValueError: If there are fewer than ``MIN_NETWORKS`` networks.
    """
    if len(genotypes) < MIN_NETWORKS:
        raise ValueError(
            f"{len(genotypes)} networks are too few; at least {MIN_NETWORKS} are needed"
        )
    order = np.random.default_rng(seed).permutation(len(genotypes))
    folds = [order[start::FOLDS] for start in range(FOLDS)]

    def best(kind: Kind, encodings: Sequence[Encoding], solvers: Sequence[Solver]) -> Fit:
        found: list[tuple[float, Encoding, Solver]] = []
        for encoding in encodings:
            _, rows = rows_of(genotypes, encoding)
            for solve in solvers:
                error = cross_validation_error(rows, latencies, folds, solve)
                found.append((error, encoding, solve))
        error, encoding, solve = min(found, key=lambda item: item[0])
        names, rows = rows_of(genotypes, encoding)
        weights, intercept = solve(rows, latencies)
        named = {name: float(w) for name, w in zip(names, weights, strict=True) if w != 0}
        model = LinearModel(
            space=genotypes[0].space,
            device=device,
            kind=kind,
            encoding=encoding,
            intercept=intercept,
            weights=named,
            trained_on=[str(genotype) for genotype in genotypes],
        )
        return Fit(model, error)

    fits: dict[Kind, Fit] = {
        "additive": best("additive", ["places"], [non_negative]),
        "ridge": best("ridge", RIDGE_ENCODINGS, [ridge(strength) for strength in STRENGTHS]),
    }
    return dict(sorted(fits.items(), key=lambda item: item[1].error))


def rows_of(genotypes: Sequence[AnyGenotype], encoding: Encoding) -> tuple[list[str], Array]:
    """Return the names of all features that occur, sorted, and their values ``(n, features)``."""
    encoded: list[Features] = [encode(genotype, encoding) for genotype in genotypes]
    names = sorted(set().union(*encoded))
    return names, np.array([[features.get(name, 0.0) for name in names] for features in encoded])


def cross_validation_error(
    rows: Array, latencies: Array, folds: Sequence[NDArray[np.int64]], solve: Solver
) -> float:
    """Return the root mean square error of predictions for each fold from all others, in ms."""
    errors = np.zeros(len(latencies))
    for fold in folds:
        others = np.setdiff1d(np.arange(len(latencies)), fold)
        weights, intercept = solve(rows[others], latencies[others])
        errors[fold] = rows[fold] @ weights + intercept - latencies[fold]
    return float(np.sqrt(np.mean(errors**2)))


def non_negative(rows: Array, latencies: Array) -> tuple[Array, float]:
    """Solve least squares with weights and an intercept that are not negative."""
    from scipy.optimize import nnls

    solution, _ = nnls(np.column_stack([rows, np.ones(len(rows))]), latencies)
    return solution[:-1], float(solution[-1])


def ridge(strength: float) -> Solver:
    """Return a ridge regression on features that are scaled to unit variance."""

    def solve(rows: Array, latencies: Array) -> tuple[Array, float]:
        from sklearn.linear_model import Ridge

        deviation = rows.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        regression = Ridge(alpha=strength).fit(rows / scale, latencies)
        weights: Array = np.where(deviation > 0, regression.coef_ / scale, 0.0)
        return weights, float(latencies.mean() - rows.mean(axis=0) @ weights)

    return solve
