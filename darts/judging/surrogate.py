"""A model of performance fitted to finished trials: ``P = f(A, H)``.

It answers what a search's winner alone does not: which parameters mattered, what each of them does
on average, and how much of the variance is the architecture's, how much the hyperparameters'. All
of this is said of the model, over the whole space; how well the model knows the truth is told by
its error on trials that it has not seen.

References:
    Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance",
    ICML 2014.
    Saltelli et al., "Variance based sensitivity analysis of model output", Computer Physics
    Communications 181, 2010.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from darts.judging.encoding import Encoding, uniforms
from darts.judging.regressors import Forest, Process, Regressor
from darts.judging.variance import first_orders, group_shares
from darts.spaces.parameters import Parameters, Point, Value, key_of

Array = NDArray[np.float64]

LEAST = 10
"""Points that a surrogate needs."""

FOLDS = 5
INTERACTION = "interaction"
OTHERS = "others"

_BASE = 256  # draws under a marginal curve


@dataclass(frozen=True)
class Error:
    """How well points are predicted by a model that has not seen them.

    Attributes:
        mae: mean absolute error, in the unit of the values.
        r2: share of the variance explained; below 0 when the mean would have been nearer, and 0
            for values that are all equal.
        rank_correlation: Spearman's; 0 where values or predictions are all equal.
        points: how many.
    """

    mae: float
    r2: float
    rank_correlation: float
    points: int


@dataclass(frozen=True)
class Marginal:
    """What a parameter does on average.

    Attributes:
        name: of the parameter.
        values: its grid.
        mean: prediction for each value, averaged over everything else.
        deviation: how unsure the model is of each mean.
    """

    name: str
    values: tuple[Value, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class Surrogate:
    """A random forest or a Gaussian process over a search space.

    Args:
        space: of the points.
        points: that were tried; one may be there several times.
        values: one a point, finite.
        kind: "forest" or "gp".
        seed: of the forest, the folds and all draws; the same seed gives the same numbers.

    Raises:
        ValueError: in one line, for fewer than ``LEAST`` points, points outside the space, and
            values that are not finite or not as many.
    """

    def __init__(
        self,
        space: Parameters,
        points: Sequence[Point],
        values: Sequence[float],
        *,
        kind: Literal["forest", "gp"] = "forest",
        seed: int = 0,
    ) -> None:
        if kind not in ("forest", "gp"):
            raise ValueError(f"kind={kind!r} is no surrogate; choose from forest, gp")
        if len(points) != len(values):
            raise ValueError(f"{len(points)} points, but {len(values)} values")
        if len(points) < LEAST:
            raise ValueError(f"a surrogate needs {LEAST} points, and there are {len(points)}")
        self.space, self.points, self.seed = space, [dict(point) for point in points], seed
        self.values: Array = np.array(values, dtype=np.float64)
        if not np.isfinite(self.values).all():
            worst = int(np.flatnonzero(~np.isfinite(self.values))[0])
            raise ValueError(f"value {worst} is {self.values[worst]}, which is not finite")
        self._encoding = Encoding(space)
        self._rows = self._encoding.rows(self._encoding.codes(self.points))
        self._model: Regressor = (
            Forest(self._rows, self.values, seed)
            if kind == "forest"
            else Process(self._rows, self.values)
        )

    def predict(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Predictions ``(n,)``; ``ValueError`` for a point outside the space."""
        if not points:
            return np.zeros(0)
        return self._model.predict(self._encoding.rows(self._encoding.codes(points)))

    def out_of_fold(self, folds: int = FOLDS) -> Array:
        """A prediction ``(n,)`` for each point by a model fitted without it.

        Equal points fall into the same fold. The Gaussian process keeps the kernel that was fitted
        to all points.

        Raises:
            ValueError: for fewer than two folds, or fewer than two different points.
        """
        keys = [key_of(point) for point in self.points]
        different = list(dict.fromkeys(keys))
        folds = min(folds, len(different))
        if folds < 2:
            raise ValueError("cross-validation needs two folds and two different points")
        order = np.random.default_rng(self.seed).permutation(len(different))
        fold_of = {different[place]: rank % folds for rank, place in enumerate(order)}
        fold = np.array([fold_of[key] for key in keys])
        found = np.empty_like(self.values)
        for number in range(folds):
            seen, held = fold != number, fold == number
            model = self._model.again(self._rows[seen], self.values[seen])
            found[held] = model.predict(self._rows[held])
        return found

    @cached_property
    def error(self) -> Error:
        """The cross-validated error."""
        found = self.out_of_fold()
        spread = float(np.sum((self.values - self.values.mean()) ** 2))
        missed = float(np.sum((self.values - found) ** 2))
        return Error(
            mae=float(np.abs(self.values - found).mean()),
            r2=1 - missed / spread if spread > 0 else 0.0,
            rank_correlation=rank_correlation(self.values, found),
            points=len(found),
        )

    def marginal(self, name: str, levels: int = 21) -> Marginal:
        """The mean prediction over the grid of a parameter, everything else drawn from the space.

        The same draws serve for all values. Where the parameter depends on others, they are drawn
        such that it is there.

        Args:
            name: of the parameter.
            levels: of a range; a choice has all its values.

        Raises:
            ValueError: when there is no such parameter, or it is never active.
        """
        encoding = self._encoding
        number = encoding.number(name)
        values = tuple(self.space.by_name[name].domain.grid(levels))
        columns = len(encoding.names)
        uniform = uniforms(_BASE, 2 * columns, self.seed)
        draws = encoding.draws(uniform[:, :columns])
        draws = encoding.made_active(number, draws, uniform[:, columns:])
        codes = np.tile(draws, (len(values), 1))
        codes[:, number] = np.repeat([encoding.code(number, value) for value in values], _BASE)
        mean, deviation = self._model.averages(encoding.rows(codes), _BASE)
        return Marginal(name, values, tuple(mean.tolist()), tuple(deviation.tolist()))

    def importances(self) -> dict[str, float]:
        """The share of the model's variance that each parameter explains alone, largest first.

        Functional ANOVA: first-order effects over points drawn from the space. Each is at least 0,
        and together they are at most 1 up to the error of the draws; what is missing to 1 is what
        parameters do only together. The choice between branches of a conditional space is the
        parent's doing. All are 0 where the model predicts the same everywhere.
        """
        shares = first_orders(self._encoding, self._model.predict, self.seed).tolist()
        found = dict(zip(self._encoding.names, shares, strict=True))
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def shares(self, groups: Mapping[str, Collection[str]]) -> dict[str, float]:
        """The share of the model's variance that each group of parameters explains alone.

        Args:
            groups: names of parameters by group, no parameter in two groups.

        Returns:
            the share of each group; of the parameters in no group, as ``others``, where there are
            any; and as ``interaction`` what groups do only together. All are at least 0, and add
            up to 1 up to the error of the draws, or are all 0 where the model predicts the same
            everywhere.

        Raises:
            ValueError: for a name that is no parameter's or is in two groups, and for a group
                called like one of those that are added.
        """
        numbers = {
            group: [self._encoding.number(name) for name in names]
            for group, names in groups.items()
        }
        taken = [number for members in numbers.values() for number in members]
        for number in taken:
            if taken.count(number) > 1:
                raise ValueError(f"{self._encoding.names[number]} is in a group twice, or in two")
        for name in (INTERACTION, OTHERS):
            if name in groups:
                raise ValueError(f"no group may be called {name!r}, which is added to the groups")
        rest = [n for n in range(len(self._encoding.names)) if n not in taken]
        if rest:
            numbers[OTHERS] = rest
        found = group_shares(self._encoding, self._model.predict, list(numbers.values()), self.seed)
        if found is None:
            return dict.fromkeys([*numbers, INTERACTION], 0.0)
        together = max(0.0, 1 - float(found.sum()))
        return dict(zip(numbers, found.tolist(), strict=True)) | {INTERACTION: together}


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's rank correlation; 0 where one of the two, both ``(n,)``, is constant."""
    from scipy.stats import rankdata

    # Ranks of what differs by rounding only would be noise.
    if any(np.ptp(values) <= 1e-12 * np.abs(values).max() for values in (one, other)):
        return 0.0
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
