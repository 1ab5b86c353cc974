"""Successive halving, compared with a slow simulation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darts.finding.policy import Standing, promoted

SCORES = st.lists(st.integers(0, 3).map(float), min_size=1, max_size=4)
STANDINGS = st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 2)), max_size=12).map(
    lambda rows: [Standing(f"net{n}", *row) for n, row in enumerate(rows)]
)


def slow_promoted(standings: list[Standing]) -> list[str]:
    """Count for each candidate how many rank above it after its last stage."""
    ranks = []
    for place, own in enumerate(standings):
        stage = own.first + len(own.scores) - 1
        reached = [
            (n, dict(enumerate(s.scores, s.first))[stage])
            for n, s in enumerate(standings)
            if stage in dict(enumerate(s.scores, s.first))
        ]
        above = [
            n
            for n, score in reached
            if score > own.scores[-1] or (score == own.scores[-1] and n < place)
        ]
        if own.is_open and len(above) < len(reached) // 2:
            ranks.append((-stage, len(above), own.name))
    return [name for _, _, name in sorted(ranks)]


@given(STANDINGS)
def test_the_better_half_of_each_stage_enters_the_next_one(standings: list[Standing]) -> None:
    assert promoted(standings) == slow_promoted(standings)


@given(STANDINGS, st.floats(0, 5))
def test_a_better_score_never_hurts(standings: list[Standing], gain: float) -> None:
    for name in promoted(standings):
        better = [
            dataclasses.replace(s, scores=[*s.scores[:-1], s.scores[-1] + gain * (s.name == name)])
            for s in standings
        ]
        assert name in promoted(better)


def train_all(standings: list[Standing], score: Callable[[str, int], float]) -> list[int]:
    """Train until nobody is promoted; return the number of stages of each candidate."""
    while names := promoted(standings):
        for standing in standings:
            if standing.name in names:
                standing.scores.append(score(standing.name, len(standing.scores)))
    return [len(standing.scores) for standing in standings]


def entrants(numbers: range) -> list[Standing]:
    return [Standing(str(number), [float(number)]) for number in numbers]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 13])
def test_each_stage_halves_the_candidates_and_the_best_one_trains_longest(count: int) -> None:
    stages = train_all(entrants(range(count)), lambda name, stage: int(name) + stage)
    for stage in range(max(stages)):
        assert sum(own > stage for own in stages) == count // 2**stage
    assert stages == sorted(stages)  # candidate n is better than candidate n - 1


def test_a_race_continues_with_new_candidates() -> None:
    standings = entrants(range(4))
    assert train_all(standings, lambda name, stage: int(name)) == [1, 1, 2, 3]
    standings += entrants(range(4, 8))
    assert train_all(standings, lambda name, stage: int(name)) == [1, 1, 2, 3, 2, 3, 4, 5]
