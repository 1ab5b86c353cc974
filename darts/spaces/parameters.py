"""What a black-box search varies: parameters with domains, some of them under conditions.

A *point* maps the names of its active parameters to values. Whether a parameter is active follows
from the values of parameters before it, so that a finite or continuous space, a tree of choices and
an architecture (see ``Space.parameters``) are all a list of parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

Value = bool | int | float | str | None
Point = dict[str, Value]

STEPS = (0.25, 0.0625, 0.015625)
"""How far the neighbors of a number lie, as shares of its range."""


@dataclass(frozen=True)
class Choice:
    """One of some values without an order.

    Raises:
        ValueError: when there are none, or one twice.
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("there is nothing to choose from")
        if len({(type(value), value) for value in self.values}) != len(self.values):
            raise ValueError(f"{list(self.values)} has a value twice")

    def __contains__(self, value: object) -> bool:
        return any(type(value) is type(own) and value == own for own in self.values)

    def draw(self, draw: Random) -> Value:
        """Each value with the same probability."""
        return self.values[draw.randrange(len(self.values))]

    def grid(self, levels: int) -> Sequence[Value]:
        """All values, whatever the number of levels."""
        return self.values

    def neighbors(self, value: Value) -> Sequence[Value]:
        """All others."""
        return [own for own in self.values if type(own) is not type(value) or own != value]

    def varied(self, value: Value, draw: Random) -> Value:
        """Another value; the same if there is no other."""
        others = self.neighbors(value)
        return others[draw.randrange(len(others))] if others else value


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included.

    Attributes:
        low, high: the bounds.
        whole: whether the numbers are integers.
        step: distance of the numbers from ``low`` on; None for all numbers, or for all integers.
        log: whether equal ratios, not equal differences, are equally far apart.

    Raises:
        ValueError: for bounds or a step that leave nothing to search.
    """

    low: float
    high: float
    whole: bool = False
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"low={self.low} and high={self.high} must be finite")
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(f"low={self.low} and high={self.high} must be integers")
        if self.log and self.low <= 0:
            raise ValueError(f"log=true needs low above 0, not {self.low}")
        if self.step is not None:
            if self.log:
                raise ValueError("log=true and step exclude each other")
            if not math.isfinite(self.step) or self.step <= 0:
                raise ValueError(f"step={self.step} must be above 0")
            if self.whole and self.step != int(self.step):
                raise ValueError(f"step={self.step} must be an integer")

    @property
    def levels(self) -> int | None:
        """How many numbers there are; None for a continuum."""
        if self.low == self.high:
            return 1
        step = self.step or (1 if self.whole else None)
        return None if step is None else int((self.high - self.low) / step + 1e-9) + 1

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.whole and value != int(value):
            return False
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        if not self.low - slack <= value <= self.high + slack:
            return False
        return self.step is None or abs(value - float(self._nearest(value))) <= slack

    def at(self, place: float) -> int | float:
        """The number at a place from 0 (``low``) to 1 (``high``)."""
        place = min(1.0, max(0.0, place))
        if self.log:
            value = math.exp(math.log(self.low) * (1 - place) + math.log(self.high) * place)
        else:
            value = self.low + place * (self.high - self.low)
        return self._nearest(value)

    def place(self, value: float) -> float:
        """The inverse of ``at``."""
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def draw(self, draw: Random) -> Value:
        """Evenly, on the logarithm if so said; each of finitely many with equal probability."""
        if self.levels is not None and not self.log:
            return self._level(draw.randrange(self.levels))
        return self.at(draw.random())

    def grid(self, levels: int) -> Sequence[Value]:
        """At most so many numbers, evenly from bound to bound."""
        if self.levels is not None and self.levels <= levels:
            return [self._level(level) for level in range(self.levels)]
        places = [level / (levels - 1) for level in range(levels)] if levels > 1 else [0.5]
        return list(dict.fromkeys(self.at(place) for place in places))

    def neighbors(self, value: Value) -> Sequence[Value]:
        """Numbers around, far and near; of integers and steps the next ones too."""
        assert isinstance(value, (int, float))
        here = self.place(value)
        found = [self.at(here + sign * step) for step in STEPS for sign in (-1, 1)]
        step = self.step or (1 if self.whole else None)
        if step is not None:
            found += [self._nearest(value - step), self._nearest(value + step)]
        return [near for near in dict.fromkeys(found) if near != value]

    def varied(self, value: Value, draw: Random) -> Value:
        """A number drawn around this one; the same only if there is no other."""
        assert isinstance(value, (int, float))
        if self.low == self.high:
            return value
        for _ in range(100):
            moved = self.at(self.place(value) + draw.gauss(0, 0.2))
            if moved != value:
                return moved
        others = self.neighbors(value)
        return others[draw.randrange(len(others))] if others else value

    def _level(self, level: int) -> int | float:
        return self._nearest(self.low + level * (self.step or 1))

    def _nearest(self, value: float) -> int | float:
        value = min(self.high, max(self.low, value))
        if self.step is not None:
            top = (self.levels or 1) - 1
            value = self.low + self.step * min(top, round((value - self.low) / self.step))
            value = float(f"{value:.12g}")  # 0.3, not 0.30000000000000004
        return round(value) if self.whole else float(value)


Domain = Choice | Range


@dataclass(frozen=True)
class Parameter:
    """One thing to vary.

    Attributes:
        name: unique in its space.
        domain: what values it takes.
        when: pairs of an earlier parameter's name and values; it is active where all of these
            parameters are active and have one of their values.
    """

    name: str
    domain: Domain
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def active(self, point: Mapping[str, Value]) -> bool:
        """Whether it has a value, given those before it."""
        return all(
            name in point and any(_same(point[name], value) for value in values)
            for name, values in self.when
        )


class Parameters:
    """A search space: parameters in an order in which conditions look back.

    Raises:
        ValueError: in one line, when a name is there twice or a condition can never hold.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.all = tuple(parameters)
        self.by_name: dict[str, Parameter] = {}
        for parameter in self.all:
            if parameter.name in self.by_name:
                raise ValueError(f"{parameter.name} is there twice")
            for name, values in parameter.when:
                if name not in self.by_name:
                    earlier = ", ".join(self.by_name) or "none"
                    raise ValueError(
                        f"{parameter.name} depends on {name}, which is no parameter before it; "
                        f"those are {earlier}"
                    )
                strange = [value for value in values if value not in self.by_name[name].domain]
                if strange:
                    raise ValueError(
                        f"{parameter.name} depends on {name}={strange[0]}, which it never is"
                    )
            self.by_name[parameter.name] = parameter

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def contains(self, point: Mapping[str, Value]) -> bool:
        """Whether it has a value of the domain for each active parameter and for no other."""
        here: Point = {}
        for parameter in self.all:
            if parameter.active(here):
                if parameter.name not in point or point[parameter.name] not in parameter.domain:
                    return False
                here[parameter.name] = point[parameter.name]
        return len(here) == len(point)

    def completed(self, wanted: Mapping[str, Value], draw: Random) -> Point:
        """The wanted values where they are possible; others drawn."""
        point: Point = {}
        for parameter in self.all:
            if parameter.active(point):
                value = wanted.get(parameter.name)
                known = parameter.name in wanted and value in parameter.domain
                point[parameter.name] = value if known else parameter.domain.draw(draw)
        return point

    def draw(self, draw: Random) -> Point:
        """A point at random, parameter by parameter."""
        return self.completed({}, draw)

    def mutated(self, point: Point, draw: Random) -> Point:
        """One active parameter has another value, and what depends on it may be drawn anew."""
        free = [
            parameter
            for parameter in self.all
            if parameter.name in point and len(parameter.domain.grid(2)) > 1
        ]
        if not free:
            return dict(point)
        chosen = free[draw.randrange(len(free))]
        value = chosen.domain.varied(point[chosen.name], draw)
        return self.completed({**point, chosen.name: value}, draw)

    def crossed(self, one: Point, other: Point, draw: Random) -> Point:
        """Each parameter from one parent or the other, where both have it by the toss of a coin."""
        wanted = {**other, **one}
        for parameter in self.all:
            if parameter.name in one and parameter.name in other and draw.random() < 0.5:
                wanted[parameter.name] = other[parameter.name]
        return self.completed(wanted, draw)

    def neighbors(self, point: Point, draw: Random) -> list[Point]:
        """All points with one value changed, in a random order."""
        found = [
            self.completed({**point, parameter.name: value}, draw)
            for parameter in self.all
            if parameter.name in point
            for value in parameter.domain.neighbors(point[parameter.name])
        ]
        draw.shuffle(found)
        return found

    def points(self, levels: int) -> Iterator[Point]:
        """The whole grid, numbers of a continuum at so many levels."""
        yield from self._points({}, 0, levels)

    def _points(self, point: Point, place: int, levels: int) -> Iterator[Point]:
        if place == len(self.all):
            yield point
            return
        parameter = self.all[place]
        if not parameter.active(point):
            yield from self._points(point, place + 1, levels)
            return
        for value in parameter.domain.grid(levels):
            yield from self._points({**point, parameter.name: value}, place + 1, levels)

    def size(self, levels: int, most: int | None = None) -> int:
        """How many points the grid has; not counted further than ``most``."""
        if not any(parameter.when for parameter in self.all):
            size = math.prod(len(parameter.domain.grid(levels)) for parameter in self.all)
            return size if most is None else min(size, most)
        return sum(1 for _ in itertools.islice(self.points(levels), most))


def key_of(point: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    """Equal for equal points, to look them up by."""
    return tuple(sorted((name, repr(value)) for name, value in point.items()))


def _same(one: Value, other: Value) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)
