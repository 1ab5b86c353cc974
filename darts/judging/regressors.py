"""The regression models of a surrogate: a random forest and a Gaussian process.

References:
    Breiman, "Random Forests", Machine Learning 45, 2001.
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.gaussian_process.kernels import Kernel

Array = NDArray[np.float64]
Rows = NDArray[np.float32]

_TREES = 100
_MAX_FEATURES = 0.5  # share of the columns that a split may choose from
_MAX_LENGTH_SCALES = 24  # columns up to which each column has its own length scale
_CHUNK = 4096  # rows that a Gaussian process predicts at once, to limit the memory


class Regressor(ABC):
    """A regression model, which the constructor fits to rows ``(n, width)`` and values ``(n,)``."""

    @abstractmethod
    def refit(self, rows: Rows, values: Array) -> Regressor:
        """Return a model with the same settings, fitted to other data."""

    @abstractmethod
    def predict(self, rows: Rows) -> Array:
        """Return predictions ``(n,)`` for rows ``(n, width)``."""

    @abstractmethod
    def averages(self, rows: Rows, count: int) -> tuple[Array, Array]:
        """Return the mean prediction of each block of ``count`` rows, and its uncertainty.

        Rows are ``(k * count, width)``, means and their standard deviations ``(k,)``.
        """


class RandomForest(Regressor):
    """A random forest. The uncertainty is the standard deviation of its trees' predictions."""

    def __init__(self, rows: Rows, values: Array, seed: int) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self._seed = seed
        self._forest = RandomForestRegressor(_TREES, max_features=_MAX_FEATURES, random_state=seed)
        self._forest.fit(rows, values)

    def refit(self, rows: Rows, values: Array) -> RandomForest:
        return RandomForest(rows, values, self._seed)

    def predict(self, rows: Rows) -> Array:
        return np.asarray(self._forest.predict(rows))

    def averages(self, rows: Rows, count: int) -> tuple[Array, Array]:
        trees = [tree.predict(rows, check_input=False) for tree in self._forest.estimators_]
        means = np.stack(trees).reshape(len(trees), -1, count).mean(axis=2)
        return means.mean(axis=0), means.std(axis=0)


class GaussianProcess(Regressor):
    """A Gaussian process with a Matern kernel and noise.

    The uncertainty is the standard deviation of the posterior. The constructor fits the kernel
    unless it is given; ``refit`` keeps the kernel. Up to ``_MAX_LENGTH_SCALES`` columns have one
    length scale each; more columns share one.
    """

    def __init__(self, rows: Rows, values: Array, kernel: Kernel | None = None) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        optimizer = None if kernel is not None else _minimize
        if kernel is None:
            columns = rows.shape[1]
            # sqrt(columns / 6): root mean square distance of two uniform random rows in [0, 1].
            scales = np.ones(columns) if columns <= _MAX_LENGTH_SCALES else np.sqrt(columns / 6)
            matern = Matern(scales, length_scale_bounds=(0.05, 100), nu=2.5)
            noise = WhiteKernel(0.1, noise_level_bounds=(1e-5, 10))
            kernel = ConstantKernel(1, (1e-2, 1e2)) * matern + noise
        self._process = GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True)
        with warnings.catch_warnings():
            # A length scale reaches its bound if the values do not depend on the column.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(rows.astype(np.float64), values)

    def refit(self, rows: Rows, values: Array) -> GaussianProcess:
        return GaussianProcess(rows, values, self._process.kernel_)

    def predict(self, rows: Rows) -> Array:
        chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        predictions = [self._process.predict(chunk.astype(np.float64)) for chunk in chunks]
        return np.concatenate(predictions)

    def averages(self, rows: Rows, count: int) -> tuple[Array, Array]:
        means, deviations = [], []
        for block in rows.astype(np.float64).reshape(-1, count, rows.shape[1]):
            mean, covariance = self._process.predict(block, return_cov=True)
            means.append(mean.mean())
            # Variance of the mean of correlated values; rounding can make it negative.
            deviations.append(np.sqrt(max(0.0, covariance.mean())))
        return np.array(means), np.array(deviations)


def _minimize(
    loss: Callable[[Array], tuple[float, Array]], start: Array, bounds: Array
) -> tuple[Array, float]:
    """Minimize like scikit-learn's default, but with at most 30 iterations, usually enough.

    ``loss`` returns the loss and its gradient. Return the best kernel parameters and their loss.
    """
    from scipy.optimize import minimize

    limit = {"maxiter": 30}
    result = minimize(loss, start, method="L-BFGS-B", jac=True, bounds=bounds, options=limit)
    return result.x, result.fun
