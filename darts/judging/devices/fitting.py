"""Fit a latency model to the measured latencies of a few networks, and test it on others.

There are two kinds of models. The additive model has a latency for each operation at each place of
a cell, which cannot be negative. The ridge regression reads features of the graph of the cell, so
it can learn that a device skips operations without effect, or runs branches in parallel. Neither
reads anything but the training networks: cross-validation on these chooses the features, the
strength of the regularization, and between the two kinds. The tests compare both with counting
weights or MACs.

References:
    Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23: non-negative least
    squares.
    Hoerl and Kennard, "Ridge Regression", Technometrics 12, 1970.
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3.2: latency as a sum over operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from darts.judging.devices.cell_features import Encoding, encode
from darts.judging.devices.latency_model import Kind, LinearModel
from darts.judging.devices.pieces import candidates_of
from darts.judging.rankings import agreement
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces import AnyGenotype, Space

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin

Array = NDArray[np.float64]

FOLDS = 10  # `train` is at least 20, so each has at least two networks
RIDGE_ENCODINGS: tuple[Encoding, ...] = ("operations", "graph", "edges")
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 7))  # of the regularization

# By name of a trivial predictor, the cost in `MEASURES` that it is proportional to.
COUNTS = {"parameters": "parameters", "macs": "flops"}


@dataclass(frozen=True)
class Fit:
    """A fitted model and its error in the cross-validation, the root mean square in ms."""

    model: LinearModel
    error: float


def fit_latency(
    genotypes: Sequence[AnyGenotype], latencies: Array, *, device: str, seed: int = 0
) -> dict[Kind, Fit]:
    """Fit both kinds of models; the one with the smaller error in the cross-validation comes first.

    The genotypes are of one space; the latencies are in milliseconds, ``(n,)``.
    """
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = np.random.default_rng(seed).permutation(len(genotypes))
    folds = [order[start::FOLDS] for start in range(FOLDS)]
    splits = [(np.setdiff1d(order, fold), fold) for fold in folds]

    def best(kind: Kind, encodings: Sequence[Encoding], models: Sequence[RegressorMixin]) -> Fit:
        found: list[tuple[float, Encoding, RegressorMixin]] = []
        for encoding in encodings:
            _, rows = rows_of(genotypes, encoding)
            for model in models:
                predictions = cross_val_predict(model, rows, latencies, cv=splits)
                found.append((root_mean_square(predictions - latencies), encoding, model))
        error, encoding, model = min(found, key=lambda item: item[0])
        names, rows = rows_of(genotypes, encoding)
        # A linear model is known by its predictions without features and with each of them.
        count = len(names)
        probes = np.column_stack([np.eye(count + 1, count, k=-1), np.ones(count + 1)])
        intercept, *values = model.fit(rows, latencies).predict(probes).tolist()
        pairs = zip(names, values, strict=True)
        weights = {name: value - intercept for name, value in pairs if value != intercept}
        trained_on = [str(genotype) for genotype in genotypes]
        space = genotypes[0].space
        fitted = LinearModel(space, device, kind, encoding, intercept, weights, trained_on)
        return Fit(fitted, error)

    non_negative = LinearRegression(positive=True, fit_intercept=False)
    ridges = [make_pipeline(StandardScaler(), Ridge(alpha=strength)) for strength in STRENGTHS]
    fits: dict[Kind, Fit] = {
        "additive": best("additive", ["places"], [non_negative]),
        "ridge": best("ridge", RIDGE_ENCODINGS, ridges),
    }
    return dict(sorted(fits.items(), key=lambda item: item[1].error))


def rows_of(genotypes: Sequence[AnyGenotype], encoding: Encoding) -> tuple[list[str], Array]:
    """Return the names of all features that occur, sorted, and their values ``(n, features + 1)``.

    The last column is 1.
    """
    encoded = [encode(genotype, encoding) for genotype in genotypes]
    names = sorted(set().union(*encoded))
    rows = [[*(features.get(name, 0.0) for name in names), 1.0] for features in encoded]
    return names, np.array(rows)


def root_mean_square(errors: Array) -> float:
    """Return the square root of the mean of the squares."""
    return float(np.sqrt(np.mean(errors**2)))


@dataclass(frozen=True)
class Accuracy:
    """Agreement of predictions with measurements: correlations of ranks, and an error in ms."""

    spearman: float
    kendall: float
    rmse_ms: float

    @classmethod
    def of(cls, predictions: Array, latencies: Array) -> Accuracy:
        """Compare predictions with measurements, both ``(n,)`` in milliseconds."""
        ranks = agreement(predictions, latencies)
        return cls(ranks.spearman, ranks.kendall, root_mean_square(predictions - latencies))


def fit_and_test(
    genotypes: Sequence[AnyGenotype],
    latencies: Array,
    counts: dict[str, Array],
    *,
    train: int,
    device: str,
    seed: int,
) -> tuple[dict[Kind, Fit], dict[str, Accuracy]]:
    """Fit latency models to ``train`` random networks, and test them on all others.

    Return the best model of each kind, the chosen kind first; and by kind, and by name of a trivial
    predictor, the accuracy on the other networks.

    The genotypes are of one space, and the draw depends on their order; the latencies are in
    milliseconds, ``(n,)``. A line that is fitted to the training networks turns each of ``counts``,
    ``(n,)``, into milliseconds.
    """
    if train > len(genotypes) - 2:
        raise ValueError(
            f"train={train} leaves fewer than 2 of {len(genotypes)} networks to test the model; "
            "lower it"
        )
    order = np.random.default_rng(seed).permutation(len(genotypes))
    known, rest = order[:train], order[train:]
    fits = fit_latency([genotypes[n] for n in known], latencies[known], device=device, seed=seed)
    accuracies: dict[str, Accuracy] = {}
    for kind, fit in fits.items():
        predictions = np.array([fit.model.predict(genotypes[n]) for n in rest])
        accuracies[kind] = Accuracy.of(predictions, latencies[rest])
    for name, values in counts.items():
        line = np.column_stack([values[known], np.ones(train)])
        (slope, intercept), *_ = np.linalg.lstsq(line, latencies[known], rcond=None)
        accuracies[name] = Accuracy.of(slope * values[rest] + intercept, latencies[rest])
    return fits, accuracies


def count(
    space: Space, genotypes: Sequence[AnyGenotype], *, classes: int, sample_shape: Sequence[int]
) -> dict[str, Array]:
    """Return the parameters and the MACs of the networks of genotypes, each ``(n,)``."""
    channels = space.in_channels(tuple(sample_shape))
    candidates = candidates_of(space, classes=classes, in_channels=channels)
    counts: dict[str, Array] = {}
    for name, measure in COUNTS.items():
        cost = ExpectedCost.measured(
            space, candidates, classes=classes, sample_shape=sample_shape, measure=MEASURES[measure]
        )
        counts[name] = np.array(list(map(cost.of_genotype, genotypes)))
    return counts
