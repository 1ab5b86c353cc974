"""The two regressions behind a surrogate: a random forest and a Gaussian process.

References:
    Breiman, "Random Forests", Machine Learning 45, 2001.
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.float32]

_TREES = 100
_SHARE = 0.5  # of the columns that a split may choose from
_OWN_SCALES = 24  # up to so many columns each has a length scale of its own
_CHUNK = 4096  # rows of a Gaussian process's prediction, to bound the memory


class Regressor(ABC):
    """A regression that is fitted to rows and values when it is made."""

    @abstractmethod
    def again(self, rows: Rows, values: Array) -> Regressor:
        """The same regression fitted to other data."""

    @abstractmethod
    def predict(self, rows: Rows) -> Array:
        """Predictions ``(n,)`` for rows ``(n, width)``."""

    @abstractmethod
    def averages(self, rows: Rows, count: int) -> tuple[Array, Array]:
        """Means of predictions, each over so many rows in turn, and how sure they are.

        Args:
            rows: ``(k * count, width)``.
            count: of rows to a mean.

        Returns:
            means and their deviations, both ``(k,)``.
        """


class Forest(Regressor):
    """Regression trees on resampled data; a deviation is that between the trees."""

    def __init__(self, rows: Rows, values: Array, seed: int) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self._seed = seed
        self._forest = RandomForestRegressor(_TREES, max_features=_SHARE, random_state=seed)
        self._forest.fit(rows, values)

    def again(self, rows: Rows, values: Array) -> Forest:
        return Forest(rows, values, self._seed)

    def predict(self, rows: Rows) -> Array:
        return np.asarray(self._forest.predict(rows))

    def averages(self, rows: Rows, count: int) -> tuple[Array, Array]:
        trees = [tree.predict(rows, check_input=False) for tree in self._forest.estimators_]
        means = np.stack(trees).reshape(len(trees), -1, count).mean(axis=2)
        return means.mean(axis=0), means.std(axis=0)


class Process(Regressor):
    """A Gaussian process with a Matern kernel and noise; a deviation is the posterior's.

    The kernel is fitted to the data it is made with; ``again`` keeps it. Each column has a length
    scale of its own where there are few, all together one where there are many.
    """

    def __init__(self, rows: Rows, values: Array, kernel: Any = None) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        fitted = kernel is not None
        if not fitted:
            columns = rows.shape[1]
            scales = np.ones(columns) if columns <= _OWN_SCALES else np.sqrt(columns / 6)
            alike = Matern(scales, length_scale_bounds=(0.05, 100), nu=2.5)
            noise = WhiteKernel(0.1, noise_level_bounds=(1e-5, 10))
            kernel = ConstantKernel(1, (1e-2, 1e2)) * alike + noise
        optimizer = None if fitted else _climb
        self._process = GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True)
        with warnings.catch_warnings():
            # A length scale at its bound is a column that says nothing; no reason to warn.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(rows.astype(np.float64), values)

    def again(self, rows: Rows, values: Array) -> Process:
        return Process(rows, values, self._process.kernel_)

    def predict(self, rows: Rows) -> Array:
        parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        return np.concatenate([self._process.predict(part.astype(np.float64)) for part in parts])

    def averages(self, rows: Rows, count: int) -> tuple[Array, Array]:
        means, deviations = [], []
        for part in rows.astype(np.float64).reshape(-1, count, rows.shape[1]):
            mean, covariance = self._process.predict(part, return_cov=True)
            means.append(mean.mean())
            # Of a mean of values that vary together; rounding may bring it below 0.
            deviations.append(np.sqrt(max(0.0, covariance.mean())))
        return np.array(means), np.array(deviations)


def _climb(loss: Any, start: Array, bounds: Array) -> tuple[Array, float]:
    """scikit-learn's own optimizer with fewer steps; it is far from the end after a few only."""
    from scipy.optimize import minimize

    found = minimize(
        loss, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 30}
    )
    return found.x, found.fun
