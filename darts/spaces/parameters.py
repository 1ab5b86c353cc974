"""Parameters of tuning runs: domains, conditions, and operations on points.

A *point* maps the names of its active parameters to values. The values of earlier parameters
determine whether a parameter is active. A list of parameters can thus describe finite and
continuous spaces, trees of choices, and architectures (see ``Space.parameters``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | None
Point: TypeAlias = dict[str, Value]

# Distances of a number to its neighbors, as fractions of its range.
NEIGHBOR_DISTANCES = (0.25, 0.0625, 0.015625)


@dataclass(frozen=True)
class Choice:
    """A domain of values without an order."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice needs at least one value")
        if len({(type(value), value) for value in self.values}) != len(self.values):
            raise ValueError(f"{list(self.values)} repeats a value")

    def __contains__(self, value: object) -> bool:
        return len(self.neighbors(value)) < len(self.values)

    def draw(self, random: Random) -> Value:
        """Draw a value from the uniform distribution."""
        return random.choice(self.values)

    def grid(self, levels: int) -> Sequence[Value]:
        """Return all values; ``levels`` is ignored."""
        return self.values

    def neighbors(self, value: object) -> Sequence[Value]:
        """Return all other values; 1 and True are different."""
        return [v for v in self.values if type(v) is not type(value) or v != value]

    def perturb(self, value: Value, random: Random) -> Value:
        """Draw another value; return the same value if there is no other."""
        return random.choice(self.neighbors(value) or [value])


@dataclass(frozen=True)
class Range:
    """A domain of numbers between two bounds; the steps from ``low`` may miss ``high``.

    Attributes:
        step: Restricts the numbers to ``low``, ``low + step`` and so on; None for no restriction.
    """

    low: float
    high: float
    integer: bool = False
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"low={self.low} and high={self.high} must be finite")
        if self.low > self.high:
            raise ValueError(f"low={self.low} must be <= high={self.high}")
        if self.integer and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(f"low={self.low} and high={self.high} must be integers")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low} must be > 0 if log=true")
        if self.step is not None:
            if self.log:
                raise ValueError("log=true and step are mutually exclusive")
            if not math.isfinite(self.step) or self.step <= 0:
                raise ValueError(f"step={self.step} must be > 0")
            if self.integer and self.step != int(self.step):
                raise ValueError(f"step={self.step} must be an integer")

    @property
    def levels(self) -> int | None:
        """Number of values in the range; None for a continuous range."""
        if self.low == self.high:
            return 1
        step = self.step or (1 if self.integer else None)
        return None if step is None else int((self.high - self.low) / step + 1e-9) + 1

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.integer and value != int(value):
            return False
        tolerance = 1e-9 * max(abs(self.low), abs(self.high))
        if not self.low - tolerance <= value <= self.high + tolerance:
            return False
        return self.step is None or abs(value - float(self._nearest(value))) <= tolerance

    def at(self, fraction: float) -> int | float:
        """Return the number at a fraction of the range, from 0 (``low``) to 1 (``high``)."""
        fraction = min(1.0, max(0.0, fraction))
        if self.log:
            value = math.exp(math.log(self.low) * (1 - fraction) + math.log(self.high) * fraction)
        else:
            value = self.low + fraction * (self.high - self.low)
        return self._nearest(value)

    def fraction(self, value: float) -> float:
        """Return how far along the range a number lies, from 0 to 1; the inverse of ``at``."""
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def draw(self, random: Random) -> Value:
        """Draw a number from the uniform distribution, on a log scale if ``log``."""
        if self.levels is not None and not self.log:
            return self._level(random.randrange(self.levels))
        return self.at(random.random())

    def grid(self, levels: int) -> Sequence[Value]:
        """Return at most ``levels`` numbers from ``low`` to ``high``, evenly spaced on the scale.

        For ``levels=1``, the number is in the middle.
        """
        if self.levels is not None and self.levels <= levels:
            return [self._level(level) for level in range(self.levels)]
        fractions = [level / (levels - 1) for level in range(levels)] if levels > 1 else [0.5]
        return list(dict.fromkeys(self.at(fraction) for fraction in fractions))

    def neighbors(self, value: Value) -> Sequence[Value]:
        """Return numbers at ``NEIGHBOR_DISTANCES``, and the adjacent integers or steps."""
        assert isinstance(value, (int, float))
        fraction = self.fraction(value)
        numbers = [
            self.at(fraction + sign * step) for step in NEIGHBOR_DISTANCES for sign in (-1, 1)
        ]
        step = self.step or (1 if self.integer else None)
        if step is not None:
            numbers += [self._nearest(value - step), self._nearest(value + step)]
        return [number for number in dict.fromkeys(numbers) if number != value]

    def perturb(self, value: Value, random: Random) -> Value:
        """Draw another number near ``value``; return the same number if there is no other."""
        assert isinstance(value, (int, float))
        if self.low == self.high:
            return value
        for _ in range(100):
            perturbed = self.at(self.fraction(value) + random.gauss(0, 0.2))
            if perturbed != value:
                return perturbed
        return random.choice(self.neighbors(value) or [value])

    def _level(self, level: int) -> int | float:
        return self._nearest(self.low + level * (self.step or 1))

    def _nearest(self, value: float) -> int | float:
        value = min(self.high, max(self.low, value))
        if self.step is not None:
            last = (self.levels or 1) - 1
            value = self.low + self.step * min(last, round((value - self.low) / self.step))
            value = float(f"{value:.12g}")  # 0.3, not 0.30000000000000004
        return round(value) if self.integer else float(value)


Domain: TypeAlias = Choice | Range


@dataclass(frozen=True)
class Parameter:
    """An architecture choice or hyperparameter.

    It is active if, of each pair ``(earlier parameter, values)`` of its conditions, the parameter
    is active and has one of the values.
    """

    name: str
    domain: Domain
    conditions: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def active(self, point: Mapping[str, Value]) -> bool:
        """Return whether the parameter is active, given the values of earlier parameters."""
        return all(
            name in point and any(_equal(point[name], value) for value in values)
            for name, values in self.conditions
        )

    def extended(self, points: Iterable[Point], levels: int) -> Iterator[Point]:
        """Yield each point with each value of the grid, if the parameter is active in it."""
        for point in points:
            if self.active(point):
                for value in self.domain.grid(levels):
                    yield {**point, self.name: value}
            else:
                yield point


class Parameters:
    """A search space: parameters whose conditions refer to earlier parameters only."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.by_name: dict[str, Parameter] = {}
        for parameter in parameters:
            for name, values in parameter.conditions:
                if name not in self.by_name:
                    earlier = ", ".join(self.by_name) or "none"
                    raise ValueError(
                        f"{parameter.name} depends on {name}, which is not an earlier parameter; "
                        f"the earlier parameters are {earlier}"
                    )
                impossible = [value for value in values if value not in self.by_name[name].domain]
                if impossible:
                    raise ValueError(
                        f"{parameter.name} depends on {name}={impossible[0]}, which is not a value "
                        f"of {name}"
                    )
            self.by_name[parameter.name] = parameter

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def contains(self, point: Mapping[str, Value], *, partly: bool = False) -> bool:
        """Return whether a point has valid values for all active parameters and no others.

        With ``partly``, values may be missing.
        """
        checked: Point = {}
        for parameter in self:
            name = parameter.name
            if parameter.active(checked) and (name in point or not partly):
                if name not in point or point[name] not in parameter.domain:
                    return False
                checked[name] = point[name]
        return len(checked) == len(point)

    def complete(self, values: Mapping[str, Value], random: Random) -> Point:
        """Return a point with the given values where they are valid; draw the others."""
        point: Point = {}
        for parameter in self:
            if parameter.active(point):
                value = values.get(parameter.name)
                valid = parameter.name in values and value in parameter.domain
                point[parameter.name] = value if valid else parameter.domain.draw(random)
        return point

    def draw(self, random: Random) -> Point:
        """Draw a point, one parameter after the other."""
        return self.complete({}, random)

    def mutate(self, point: Point, random: Random) -> Point:
        """Return a point with one changed value; draw the parameters that the change activates."""
        variable = [
            parameter
            for parameter in self
            if parameter.name in point and len(parameter.domain.grid(2)) > 1
        ]
        if not variable:
            return dict(point)
        parameter = variable[random.randrange(len(variable))]
        value = parameter.domain.perturb(point[parameter.name], random)
        return self.complete({**point, parameter.name: value}, random)

    def crossover(self, a: Point, b: Point, random: Random) -> Point:
        """Return a point with values of both parents, chosen at random where both have one."""
        values = {**b, **a}
        for parameter in self:
            if parameter.name in a and parameter.name in b and random.random() < 0.5:
                values[parameter.name] = b[parameter.name]
        return self.complete(values, random)

    def neighbors(self, point: Point, random: Random) -> list[Point]:
        """Return the points that change one value to a neighbor of it, in random order."""
        points = [
            self.complete({**point, parameter.name: value}, random)
            for parameter in self
            if parameter.name in point
            for value in parameter.domain.neighbors(point[parameter.name])
        ]
        random.shuffle(points)
        return points

    def points(self, levels: int) -> Iterator[Point]:
        """Yield the points of the grid with at most ``levels`` values per range."""
        points: Iterator[Point] = iter([{}])
        for parameter in self:
            points = parameter.extended(points, levels)
        return points

    def size(self, levels: int, limit: int | None = None) -> int:
        """Return the number of points that ``points`` yields, at most ``limit``."""
        return sum(1 for _ in itertools.islice(self.points(levels), limit))


def point_key(point: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    """Return a hashable key that is equal for equal points."""
    return tuple(sorted((name, repr(value)) for name, value in point.items()))


def _equal(a: Value, b: Value) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)
