"""A surrogate: a regression model of the score, fitted to finished trials.

It predicts the score of a point from its architecture and hyperparameters. It shows what the best
trial alone does not: which parameters matter, what effect each has on average, and how much of the
variance the architecture and the hyperparameters explain. All results describe the model over the
whole space. Its cross-validated error shows how reliable they are.

``darts.judging.variance`` cites the papers.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from darts.judging.encoding import Encoding, uniforms
from darts.judging.regressors import GaussianProcess, RandomForest, Regressor
from darts.judging.variance import first_order_shares, group_shares
from darts.spaces.parameters import Parameters, Point, Value, point_key

Array = NDArray[np.float64]

MIN_POINTS = 10  # points that a surrogate needs

FOLDS = 5  # number of folds of the cross-validation
INTERACTION, OTHERS = "interaction", "others"  # names of the shares that belong to no group

_MARGINAL_DRAWS = 256  # draws of the other parameters per value of a marginal


@dataclass(frozen=True)
class FitQuality:
    """Cross-validated error of a surrogate.

    Attributes:
        mae: Mean absolute error, in the unit of the values.
        r2: Share of the variance that the predictions explain; below 0 if the mean of the values
            predicts better, 0 if all values are equal.
        rank_correlation: Spearman's rank correlation of values and predictions; 0 if one of the two
            is constant.
        points: Number of points.
    """

    mae: float
    r2: float
    rank_correlation: float
    points: int


@dataclass(frozen=True)
class Marginal:
    """Average effect of a parameter.

    Attributes:
        name: Name of the parameter.
        values: Grid of its values.
        mean: Prediction for each value, averaged over all other parameters.
        deviation: Uncertainty of each mean, see ``Regressor.averages``.
    """

    name: str
    values: tuple[Value, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class Surrogate:
    """A random forest or a Gaussian process over a search space.

    Args:
        space: Search space that contains all points.
        points: At least ``MIN_POINTS`` evaluated points; repetitions are allowed.
        values: Finite score of each point.
        kind: ``forest`` (random forest) or ``gp`` (Gaussian process).
        seed: Seed of the forest, the folds and all draws; results are deterministic.

    Raises:
        ValueError: If an argument violates one of these conditions.
    """

    def __init__(
        self,
        space: Parameters,
        points: Sequence[Point],
        values: Sequence[float],
        *,
        kind: str = "forest",
        seed: int = 0,
    ) -> None:
        if kind not in ("forest", "gp"):
            raise ValueError(f"kind={kind!r} is unknown; choose from forest, gp")
        if len(points) != len(values):
            raise ValueError(f"{len(points)} points have {len(values)} values; must be equal")
        if len(points) < MIN_POINTS:
            raise ValueError(f"a surrogate needs {MIN_POINTS} points, there are {len(points)}")
        self.space, self.points, self.seed = space, [dict(point) for point in points], seed
        self.values: Array = np.array(values, dtype=np.float64)
        if not np.isfinite(self.values).all():
            index = int(np.flatnonzero(~np.isfinite(self.values))[0])
            raise ValueError(f"value {index} is {self.values[index]}; must be finite")
        self._encoding = Encoding(space)
        self._rows = self._encoding.rows(self._encoding.codes(self.points))
        self._model: Regressor
        if kind == "forest":
            self._model = RandomForest(self._rows, self.values, seed)
        else:
            self._model = GaussianProcess(self._rows, self.values)

    def predict(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Return predictions ``(n,)``; ``ValueError`` for a point outside the space."""
        if not points:
            return np.zeros(0)
        return self._model.predict(self._encoding.rows(self._encoding.codes(points)))

    def out_of_fold(self, folds: int = FOLDS) -> Array:
        """Return a prediction ``(n,)`` for each point from a model fitted without it.

        Equal points are in the same fold. The Gaussian process keeps the kernel that was fitted to
        all points. Fewer than two folds or two distinct points raise ``ValueError``.
        """
        keys = [point_key(point) for point in self.points]
        distinct = list(dict.fromkeys(keys))
        folds = min(folds, len(distinct))
        if folds < 2:
            raise ValueError("cross-validation needs at least two folds and two distinct points")
        order = np.random.default_rng(self.seed).permutation(len(distinct))
        fold_of_key = {distinct[index]: rank % folds for rank, index in enumerate(order)}
        fold_of_point = np.array([fold_of_key[key] for key in keys])
        predictions = np.empty_like(self.values)
        for fold in range(folds):
            train, test = fold_of_point != fold, fold_of_point == fold
            model = self._model.refit(self._rows[train], self.values[train])
            predictions[test] = model.predict(self._rows[test])
        return predictions

    @cached_property
    def error(self) -> FitQuality:
        """The cross-validated error."""
        predictions = self.out_of_fold()
        total = float(np.sum((self.values - self.values.mean()) ** 2))
        residual = float(np.sum((self.values - predictions) ** 2))
        return FitQuality(
            mae=float(np.abs(self.values - predictions).mean()),
            r2=1 - residual / total if total > 0 else 0.0,
            rank_correlation=rank_correlation(self.values, predictions),
            points=len(predictions),
        )

    def marginal(self, name: str, levels: int = 21) -> Marginal:
        """Return the mean prediction over a parameter's grid, averaged over all other parameters.

        The same draws of the other parameters are used for all values. If the parameter is
        conditional, its conditions hold in all draws. If it is never active, raise ``ValueError``.
        ``levels`` is the number of values in the grid of a range; the grid of a choice has all its
        values.
        """
        encoding = self._encoding
        index = encoding.index(name)
        values = tuple(self.space.by_name[name].domain.grid(levels))
        columns = len(encoding.names)
        uniform = uniforms(_MARGINAL_DRAWS, 2 * columns, self.seed)
        draws = encoding.draws(uniform[:, :columns])
        draws = encoding.draws_with_active(index, draws, uniform[:, columns:])
        codes = np.tile(draws, (len(values), 1))
        value_codes = [encoding.code(index, value) for value in values]
        codes[:, index] = np.repeat(value_codes, _MARGINAL_DRAWS)
        mean, deviation = self._model.averages(encoding.rows(codes), _MARGINAL_DRAWS)
        return Marginal(name, values, tuple(mean.tolist()), tuple(deviation.tolist()))

    def importances(self) -> dict[str, float]:
        """Return the share of the model's variance that each parameter explains alone.

        These are the first-order effects of functional ANOVA over points drawn from the space,
        the largest first. A share is at least 0. The sum is at most 1, up to the error of the
        draws; the remainder is the effect of interactions. If a parameter decides which others are
        active, the effect of this decision belongs to it. All shares are 0 if the predictions are
        constant.
        """
        shares = first_order_shares(self._encoding, self._model.predict, self.seed).tolist()
        by_name = dict(zip(self._encoding.names, shares, strict=True))
        return dict(sorted(by_name.items(), key=lambda item: -item[1]))

    def shares(self, groups: Mapping[str, Collection[str]]) -> dict[str, float]:
        """Return the share of the model's variance that each group of parameters explains alone.

        Args:
            groups: Parameter names by group; a parameter is in one group at most. ``ValueError``
                if this is violated or a name is unknown or reserved.

        Returns:
            Shares by group; ``others`` for parameters in no group, if there are any; and
            ``interaction`` for the effect of several groups together. Shares are at least 0 and
            sum to 1, up to the error of the draws; all are 0 if the predictions are constant.
        """
        indices = {
            group: [self._encoding.index(name) for name in names] for group, names in groups.items()
        }
        grouped = list(itertools.chain.from_iterable(indices.values()))
        for index in grouped:
            if grouped.count(index) > 1:
                name = self._encoding.names[index]
                raise ValueError(f"{name} is in two groups or twice in one")
        for name in (INTERACTION, OTHERS):
            if name in groups:
                raise ValueError(f"the group name {name!r} is reserved; choose another name")
        others = [index for index in range(len(self._encoding.names)) if index not in grouped]
        if others:
            indices[OTHERS] = others
        members = list(indices.values())
        shares = group_shares(self._encoding, self._model.predict, members, self.seed)
        if shares is None:
            return dict.fromkeys([*indices, INTERACTION], 0.0)
        interaction = max(0.0, 1 - float(shares.sum()))
        return dict(zip(indices, shares.tolist(), strict=True)) | {INTERACTION: interaction}


def rank_correlation(first: Array, second: Array) -> float:
    """Return Spearman's rank correlation of two arrays ``(n,)``; 0 if one of them is constant."""
    from scipy.stats import rankdata

    # Ranks of values that differ by rounding errors only would be noise.
    if any(np.ptp(values) <= 1e-12 * np.abs(values).max() for values in (first, second)):
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
