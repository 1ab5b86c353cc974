"""Points of a search space as rows of numbers, for models of performance.

A number becomes its place in its range, a choice one column a value; where a parameter depends on
others, one more column says whether it is there.

Draws are independent numbers, one a parameter, from which a point follows: a parameter whose
conditions do not hold ignores its own. So a function of points is, conditions or not, a function of
independent inputs, and its variance can be divided among them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from darts.spaces.parameters import Choice, Domain, Parameters, Value

Array = NDArray[np.float64]

_SAME = 1e-9  # of places that differ by rounding only


class Encoding:
    """The columns of a space.

    A *code* is what a value of a parameter is as one number: its place in a range, or which of the
    values of a choice it is.

    Args:
        space: with at least one parameter.

    Attributes:
        names: of the parameters, in their order.
        width: how many columns a row has.

    Raises:
        ValueError: when the space has no parameters.
    """

    def __init__(self, space: Parameters) -> None:
        if not len(space):
            raise ValueError("the space has no parameters, so there is nothing to model")
        self.space = space
        self.names = [parameter.name for parameter in space]
        self._domains = [parameter.domain for parameter in space]
        self._codes = [_choice_codes(domain) for domain in self._domains]
        place = {name: number for number, name in enumerate(self.names)}
        self._conditions = [
            [(place[name], self._of(place[name], values)) for name, values in parameter.when]
            for parameter in space
        ]
        sizes = [
            (len(domain.values) if isinstance(domain, Choice) else 1) + bool(conditions)
            for domain, conditions in zip(self._domains, self._conditions, strict=True)
        ]
        self._begin = [sum(sizes[:number]) for number in range(len(sizes))]
        self.width = sum(sizes)

    def number(self, name: str) -> int:
        """Which parameter has the name; ``ValueError`` with all names for none."""
        if name not in self.space.by_name:
            raise ValueError(f"no parameter is called {name!r}; choose from {_listed(self.names)}")
        return self.names.index(name)

    def code(self, number: int, value: Value) -> float:
        """The code of a value of a parameter."""
        domain = self._domains[number]
        if isinstance(domain, Choice):
            return self._codes[number][type(value), value]
        assert isinstance(value, (int, float))
        return domain.place(value)

    def codes(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Codes ``(points, parameters)``, NaN for parameters that are not there.

        Raises:
            ValueError: for a point that is none of the space.
        """
        codes = np.full((len(points), len(self.names)), np.nan)
        for row, point in enumerate(points):
            if not self.space.contains(point):
                raise ValueError(f"point {row} is none of this space: {dict(point)}")
            for number, name in enumerate(self.names):
                if name in point:
                    codes[row, number] = self.code(number, point[name])
        return codes

    def draws(self, uniform: Array) -> Array:
        """Codes ``(n, parameters)`` with the space's own probabilities from numbers in [0, 1)."""
        return np.stack([self.draw(i, uniform[:, i]) for i in range(len(self.names))], axis=1)

    def draw(self, number: int, uniform: Array) -> Array:
        """Codes of one parameter from numbers in [0, 1); equal numbers give equal codes."""
        domain = self._domains[number]
        if isinstance(domain, Choice):
            return np.minimum(np.floor(uniform * len(domain.values)), len(domain.values) - 1)
        if domain.low == domain.high:
            return np.full(len(uniform), 0.5)
        if domain.levels is not None and not domain.log:
            level = np.minimum(np.floor(uniform * domain.levels), domain.levels - 1)
            return level * (domain.step or 1) / (domain.high - domain.low)
        if not domain.whole:
            return uniform.astype(np.float64)
        return np.array([domain.place(domain.at(place)) for place in uniform])

    def strata(self, number: int, most: int) -> Array:
        """Codes that stand, each with the same weight, for all values of a parameter.

        Args:
            number: of the parameter.
            most: how many for a range that has more numbers; a choice has all its values.
        """
        domain = self._domains[number]
        if isinstance(domain, Choice):
            count = len(domain.values)
        else:
            few = domain.levels if domain.levels == 1 or not domain.log else None
            count = min(few or most, most)
        return self.draw(number, (np.arange(count) + 0.5) / count)

    def active(self, codes: Array) -> NDArray[np.bool_]:
        """Which parameters are there, ``(n, parameters)``, whatever codes the others have."""
        active = np.ones(codes.shape, dtype=bool)
        for number, conditions in enumerate(self._conditions):
            for parent, wanted in conditions:
                active[:, number] &= active[:, parent] & _among(codes[:, parent], wanted)
        return active

    def rows(self, codes: Array) -> NDArray[np.float32]:
        """Rows ``(n, width)`` for a model."""
        active = self.active(codes)
        rows = np.zeros((len(codes), self.width), dtype=np.float32)
        every = np.arange(len(codes))
        for number, domain in enumerate(self._domains):
            here, begin = active[:, number], self._begin[number]
            if isinstance(domain, Choice):
                chosen = codes[here, number].astype(int)
                rows[every[here], begin + chosen] = 1
                flag = begin + len(domain.values)
            else:
                rows[:, begin] = np.where(here, codes[:, number], 0.5)
                flag = begin + 1
            if self._conditions[number]:
                rows[:, flag] = ~here
        return rows

    def made_active(self, number: int, codes: Array, uniform: Array) -> Array:
        """Draws under the condition that a parameter is there.

        Args:
            number: of the parameter.
            codes: draws ``(n, parameters)``.
            uniform: numbers in [0, 1) of the same shape, to draw what the parameter depends on.

        Raises:
            ValueError: when it never is.
        """
        codes = codes.copy()
        for parent, wanted in self._needs(number).items():
            known = self.draw(parent, (np.arange(1000) + 0.5) / 1000)
            pool = known[_among(known, wanted)]
            if not len(pool):  # single numbers of a continuum
                pool = wanted
            if not len(pool):
                raise ValueError(f"{self.names[number]} is never active in this space")
            codes[:, parent] = pool[(uniform[:, parent] * len(pool)).astype(int)]
        return codes

    def _needs(self, number: int) -> dict[int, Array]:
        """The codes that each parameter must have from which this one follows, however far up."""
        needs: dict[int, Array] = {}
        for parent, wanted in self._conditions[number]:
            for place, codes in [(parent, wanted), *self._needs(parent).items()]:
                known = needs.get(place, codes)
                needs[place] = known[_among(known, codes)]
        return needs

    def _of(self, number: int, values: Collection[Value]) -> Array:
        return np.array([self.code(number, value) for value in values], dtype=np.float64)


def uniforms(count: int, columns: int, seed: int) -> Array:
    """Scrambled Sobol' points ``(count, columns)`` in [0, 1): evener than independent numbers.

    Args:
        count: a power of two.
        columns: how many numbers a point.
        seed: of the scrambling.
    """
    from scipy.stats import qmc

    return np.asarray(qmc.Sobol(columns, scramble=True, seed=seed).random(count))


def power_of_two(most: float, low: int, high: int) -> int:
    """The largest power of two up to a number, between two others."""
    return min(high, max(low, 2 ** int(math.log2(max(most, 1)))))


def _choice_codes(domain: Domain) -> dict[tuple[type, Value], float]:
    if not isinstance(domain, Choice):
        return {}
    return {(type(value), value): float(place) for place, value in enumerate(domain.values)}


def _among(codes: Array, wanted: Array) -> NDArray[np.bool_]:
    return np.any(np.abs(codes[:, None] - wanted) < _SAME, axis=1)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
