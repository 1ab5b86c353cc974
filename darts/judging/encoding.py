"""Encoding of points as rows of numbers, for surrogates.

A number is encoded by how far along its range it lies, a choice by one column per value
(one-hot). A conditional parameter has one more column, which is 1 where it is inactive.

A random point is drawn as one independent number per parameter. The numbers of inactive parameters
are drawn, too, and ignored. A function of points is therefore a function of independent inputs, in
conditional spaces too, and its variance can be attributed to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from darts.spaces.parameters import Choice, Parameters, Value

Array = NDArray[np.float64]

_TOLERANCE = 1e-9  # codes that differ by less are equal up to rounding


class Encoding:
    """The conversion of points to codes, and of codes to rows.

    A *code* represents a value of a parameter by one number: how far along a range it lies, from 0
    to 1, or the index of a choice. A *row* is the input of a surrogate.

    Args:
        space: Parameters of the points; ``ValueError`` if there are none.

    Attributes:
        names: Names of the parameters, in their order.
        width: Number of columns of a row.
    """

    def __init__(self, space: Parameters) -> None:
        if not len(space):
            raise ValueError("the space has no parameters; a surrogate needs at least one")
        self.space = space
        self.names = [parameter.name for parameter in space]
        self._domains = [parameter.domain for parameter in space]
        # The keys contain types, because True == 1.
        self._codes: list[dict[tuple[type, Value], float]] = [
            {(type(value), value): float(code) for code, value in enumerate(domain.values)}
            if isinstance(domain, Choice)
            else {}
            for domain in self._domains
        ]
        indices = {name: index for index, name in enumerate(self.names)}
        self._conditions = [
            [
                (indices[name], np.array([self.code(indices[name], value) for value in values]))
                for name, values in parameter.conditions
            ]
            for parameter in space
        ]
        sizes = [
            (len(domain.values) if isinstance(domain, Choice) else 1) + bool(conditions)
            for domain, conditions in zip(self._domains, self._conditions, strict=True)
        ]
        self._first_column = [sum(sizes[:index]) for index in range(len(sizes))]
        self.width = sum(sizes)

    def index(self, name: str) -> int:
        """Return the index of a parameter; ``ValueError`` for an unknown name."""
        if name not in self.space.by_name:
            choices = ", ".join(self.names)
            raise ValueError(f"unknown parameter {name!r}; choose from {choices}")
        return self.names.index(name)

    def code(self, index: int, value: Value) -> float:
        """Return the code of a value of a parameter."""
        domain = self._domains[index]
        if isinstance(domain, Choice):
            return self._codes[index][type(value), value]
        assert isinstance(value, (int, float))
        return domain.fraction(value)

    def codes(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Return codes ``(points, parameters)``, NaN for inactive parameters.

        A point outside the space raises ``ValueError``.
        """
        codes = np.full((len(points), len(self.names)), np.nan)
        for row, point in enumerate(points):
            if not self.space.contains(point):
                raise ValueError(f"point {row} is not in this space: {dict(point)}")
            for index, name in enumerate(self.names):
                if name in point:
                    codes[row, index] = self.code(index, point[name])
        return codes

    def draws(self, uniform: Array) -> Array:
        """Convert uniform numbers ``(n, parameters)`` in [0, 1) to codes of random points."""
        return np.stack([self.draw(i, uniform[:, i]) for i in range(len(self.names))], axis=1)

    def draw(self, index: int, uniform: Array) -> Array:
        """Convert uniform numbers ``(n,)`` in [0, 1) to codes of one parameter."""
        domain = self._domains[index]
        if isinstance(domain, Choice):
            return np.minimum(np.floor(uniform * len(domain.values)), len(domain.values) - 1)
        if domain.low == domain.high:
            return np.full(len(uniform), 0.5)
        if domain.levels is not None and not domain.log:
            level = np.minimum(np.floor(uniform * domain.levels), domain.levels - 1)
            return level * (domain.step or 1) / (domain.high - domain.low)
        if not domain.integer:
            return uniform.astype(np.float64)
        return np.array([domain.fraction(domain.at(place)) for place in uniform])

    def strata(self, index: int, levels: int) -> Array:
        """Return codes ``(count,)`` that represent all values of a parameter with equal weights.

        A range has at most ``levels`` codes; a choice has one code per value.
        """
        domain = self._domains[index]
        if isinstance(domain, Choice):
            count = len(domain.values)
        else:
            # On a log scale, the values of an integer range do not have equal weights.
            values = domain.levels if domain.levels == 1 or not domain.log else None
            count = min(values or levels, levels)
        return self.draw(index, (np.arange(count) + 0.5) / count)

    def active(self, codes: Array) -> NDArray[np.bool_]:
        """Return whether each parameter is active, ``(n, parameters)`` like ``codes``."""
        active = np.ones(codes.shape, dtype=bool)
        for index, conditions in enumerate(self._conditions):
            for parent, required in conditions:
                active[:, index] &= active[:, parent] & _contains(required, codes[:, parent])
        return active

    def rows(self, codes: Array) -> NDArray[np.float32]:
        """Return rows ``(n, width)`` for a surrogate from codes ``(n, parameters)``."""
        active = self.active(codes)
        rows = np.zeros((len(codes), self.width), dtype=np.float32)
        row_indices = np.arange(len(codes))
        for index, domain in enumerate(self._domains):
            is_active, column = active[:, index], self._first_column[index]
            if isinstance(domain, Choice):
                chosen = codes[is_active, index].astype(int)
                rows[row_indices[is_active], column + chosen] = 1
                inactive_column = column + len(domain.values)
            else:
                # An inactive number gets the middle of its range.
                rows[:, column] = np.where(is_active, codes[:, index], 0.5)
                inactive_column = column + 1
            if self._conditions[index]:
                rows[:, inactive_column] = ~is_active
        return rows

    def draws_with_active(self, index: int, codes: Array, uniform: Array) -> Array:
        """Return a copy of codes in which a parameter is active everywhere.

        Args:
            index: Index of the parameter; one that is never active raises ``ValueError``.
            codes: Codes of random points, ``(n, parameters)``.
            uniform: Uniform numbers in [0, 1) of the same shape. New codes of the parameters that
                the conditions name are drawn from them.
        """
        codes = codes.copy()
        for parent, required in self._requirements(index).items():
            possible = self.draw(parent, (np.arange(1000) + 0.5) / 1000)
            pool = possible[_contains(required, possible)]
            if not len(pool):  # the condition names single values of a continuous range
                pool = required
            if not len(pool):
                raise ValueError(f"{self.names[index]} is never active in this space")
            codes[:, parent] = pool[(uniform[:, parent] * len(pool)).astype(int)]
        return codes

    def _requirements(self, index: int) -> dict[int, Array]:
        """Return the codes that each ancestor of a parameter must have for it to be active."""
        requirements: dict[int, Array] = {}
        for parent, required in self._conditions[index]:
            for ancestor, codes in [(parent, required), *self._requirements(parent).items()]:
                known = requirements.get(ancestor, codes)
                requirements[ancestor] = known[_contains(codes, known)]
        return requirements


def uniforms(count: int, columns: int, seed: int) -> Array:
    """Return scrambled Sobol' points ``(count, columns)`` in [0, 1), for a power of two ``count``.

    They cover the space more evenly than independent random numbers.
    """
    from scipy.stats import qmc

    return np.asarray(qmc.Sobol(columns, scramble=True, seed=seed).random(count))


def power_of_two(limit: float, low: int, high: int) -> int:
    """Return the largest power of two up to ``limit``, clipped to [low, high]."""
    return min(high, max(low, 1 << int(math.log2(max(limit, 1)))))


def _contains(required: Array, codes: Array) -> NDArray[np.bool_]:
    """Return for each code whether it is one of the required codes, up to rounding."""
    contained: NDArray[np.bool_] = np.any(np.abs(codes[:, None] - required) < _TOLERANCE, axis=1)
    return contained
