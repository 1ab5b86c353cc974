"""Parameters, points, and the ways from one point to another."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.spaces.parameters import Choice, Parameter, Parameters, Range, key_of

TREE = Parameters(
    [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("momentum", Range(0.0, 0.9, step=0.3), (("kind", ("sgd",)),)),
        Parameter("nesterov", Choice((True, False)), (("kind", ("sgd",)), ("momentum", (0.9,)))),
        Parameter("layers", Range(1, 3, whole=True)),
        *(
            Parameter(f"width{n}", Choice((8, 16)), (("layers", tuple(range(n, 4))),))
            for n in (1, 2, 3)
        ),
    ]
)


@st.composite
def ranges(draw: Any) -> Range:
    """Ranges of all kinds."""
    whole = draw(st.booleans())
    log = draw(st.booleans())
    number = st.integers(1, 50) if whole else st.floats(0.01, 50)
    low, high = sorted((draw(number), draw(number)))
    step = None
    if not log and draw(st.booleans()):
        step = draw(st.integers(1, 7)) if whole else draw(st.floats(0.05, 5))
    return Range(low, high, whole, step, log)


@given(ranges(), st.integers(0, 1000), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_everything_a_range_gives_is_in_it(domain: Range, seed: int, levels: int) -> None:
    draw = Random(seed)
    value = domain.draw(draw)
    found = [value, domain.varied(value, draw), *domain.grid(levels), *domain.neighbors(value)]
    for one in found:
        assert one in domain
        assert isinstance(one, int) == domain.whole
        assert one in (domain.at(domain.place(one)), pytest.approx(domain.at(domain.place(one))))
    assert value not in domain.neighbors(value)
    assert len(domain.grid(levels)) <= max(levels, 1)
    if domain.low < domain.high and (domain.levels or 2) > 1:
        assert domain.varied(value, draw) != value


@given(st.integers(0, 10_000))
@settings(max_examples=300, deadline=None)
def test_moves_stay_in_a_space_with_conditions(seed: int) -> None:
    draw = Random(seed)
    one, other = TREE.draw(draw), TREE.draw(draw)
    moved = TREE.mutated(one, draw)
    assert key_of(moved) != key_of(one)
    for point in (one, other, moved, TREE.crossed(one, other, draw), *TREE.neighbors(one, draw)):
        assert TREE.contains(point)
        assert ("momentum" in point) == (point["kind"] == "sgd")
        assert ("nesterov" in point) == (point.get("momentum") == 0.9)
        assert [f"width{n}" in point for n in (1, 2, 3)] == [
            int(str(point["layers"])) >= n for n in (1, 2, 3)
        ]


def test_a_child_has_nothing_that_neither_parent_has() -> None:
    draw = Random(0)
    seen: Counter[str] = Counter()
    for _ in range(200):
        one, other = TREE.draw(draw), TREE.draw(draw)
        child = TREE.crossed(one, other, draw)
        for name, value in child.items():
            # What only conditions of the child bring in may be new.
            assert value in (one.get(name, value), other.get(name, value))
        if one["rate"] != other["rate"]:
            seen["one" if child["rate"] == one["rate"] else "other"] += 1
    assert min(seen.values()) > 60  # both parents, by the toss of a coin


def test_the_grid_holds_each_point_once_and_counts_them() -> None:
    points = list(TREE.points(3))
    # sgd: momentum 0, 0.45 rounded to a step, 0.9 with two ways of nesterov; adam has neither.
    of_kind = (2 + 2) + 1
    rates, widths = 3, 2 + 4 + 8
    assert len(points) == len({key_of(point) for point in points}) == of_kind * rates * widths
    assert TREE.size(3) == len(points)
    assert all(TREE.contains(point) for point in points)


def test_draws_are_even() -> None:
    draw = Random(3)
    domain = Range(1, 1000, log=True)
    below = sum(float(str(domain.draw(draw))) < math.sqrt(1000) for _ in range(2000))
    assert abs(below - 1000) < 5 * math.sqrt(500)
    steps = Counter(Range(0, 10, True, 5).draw(draw) for _ in range(3000))
    assert set(steps) == {0, 5, 10}
    assert all(abs(count - 1000) < 5 * math.sqrt(3000 * 2 / 9) for count in steps.values())


def test_truth_is_no_number() -> None:
    assert True not in Range(0, 1)
    assert True not in Choice((1, 2))
    assert 1 not in Choice((True, False))
    assert "1" not in Range(0, 1)
    assert 1.5 not in Range(1, 2, whole=True)
    assert 0.25 not in Range(0, 1, step=0.2)
    assert 0.6000000000000001 in Range(0, 1, step=0.2)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Choice(()), "nothing to choose from"),
        (lambda: Choice((1, 2, 1)), "has a value twice"),
        (lambda: Range(2, 1), "low=2 is above high=1"),
        (lambda: Range(0, math.inf), "must be finite"),
        (lambda: Range(0, 1, log=True), "log=true needs low above 0"),
        (lambda: Range(1, 2, step=0.1, log=True), "exclude each other"),
        (lambda: Range(1, 2, step=-0.1), "step=-0.1 must be above 0"),
        (lambda: Range(0.5, 2, whole=True), "must be integers"),
        (lambda: Range(0, 2, whole=True, step=0.5), "step=0.5 must be an integer"),
        (lambda: Parameters([Parameter("a", Choice((1,)))] * 2), "a is there twice"),
        (
            lambda: Parameters([Parameter("a", Choice((1,)), (("b", (1,)),))]),
            "a depends on b, which is no parameter before it; those are none",
        ),
        (
            lambda: Parameters(
                [Parameter("a", Choice((1,))), Parameter("b", Choice((1,)), (("a", (2,)),))]
            ),
            "b depends on a=2, which it never is",
        ),
    ],
)
def test_spaces_that_make_no_sense(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()
