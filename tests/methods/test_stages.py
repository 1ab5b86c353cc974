"""Stages of a search, and stopping rules on artificial sequences of eigenvalues."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from darts.methods.stages import Stage, best_candidates, partial_of, stage_position
from darts.methods.stopping import Curvature

shares = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)


@given(st.integers(1, 120), shares)
@settings(deadline=None)
def test_stages_partition_the_epochs(epochs: int, given: list[float]) -> None:
    assume(epochs >= len(given))
    stages = [Stage(share=share) for share in given]
    positions = [stage_position(epoch, epochs, stages) for epoch in range(epochs)]
    assert [
        position for i, position in enumerate(positions) if position not in positions[:i]
    ] == sorted(set(positions))
    taken = []
    for number, position in enumerate(sorted(set(positions))):
        assert position.stage == number
        assert position.length >= 1
        own = [epoch for epoch in range(epochs) if positions[epoch] == position]
        assert own == list(range(position.first, position.first + position.length))
        assert [position.progress(epoch) for epoch in own] == [
            i / len(own) for i in range(len(own))
        ]
        taken += own
    assert taken == list(range(epochs))
    assert len(set(positions)) == len(stages)
    assert stage_position(epochs + 7, epochs, stages) == positions[-1]


@given(st.integers(1, 500), shares)
@settings(deadline=None)
def test_stage_lengths_match_their_shares_to_half_an_epoch(epochs: int, given: list[float]) -> None:
    exact = [epochs * share / sum(given) for share in given]
    assume(min(exact) >= 1.5)  # no stage has to be made longer than its share
    stages = [Stage(share=share) for share in given]
    ends = {}
    for epoch in range(epochs):
        position = stage_position(epoch, epochs, stages)
        ends[position.stage] = position.first + position.length
    for number, end in ends.items():
        assert abs(end - sum(exact[: number + 1])) <= 0.5 + 1e-6


def test_stages_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^epochs=1: must be >= 2, the number of stages$"):
        stage_position(0, 1, [Stage(), Stage()])
    with pytest.raises(ValueError, match=r"widen=1.5 does not divide relaxation.partial=4"):
        partial_of(4, Stage(widen=1.5))


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9), st.floats(0.01, 1))
@settings(deadline=None)
def test_best_candidates_are_the_most_probable_of_each_edge(
    seed: int, edges: int, columns: int, keep: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(edges, columns, generator=generator).argsort(1)
    p = (order + 1) / (columns + 1)  # no two of an edge are equal
    present = torch.rand(edges, columns, generator=generator) < 0.7
    count = max(1, int(keep * columns + 0.5))
    for kept in ({}, {"cell": present}):
        mask = best_candidates({"cell": p}, kept, keep)["cell"]
        assert (mask.dtype, mask.shape) == (torch.bool, p.shape)
        for edge in range(edges):
            left = [c for c in range(columns) if not kept or present[edge, c]]
            best = sorted(left, key=lambda c: -float(p[edge, c]))[:count]
            assert mask[edge].nonzero()[:, 0].tolist() == sorted(best)


@pytest.mark.parametrize(
    ("partial", "widen", "expected"), [(4, 2, 2), (6, 1.5, 4), (6, 2, 3), (1, 2, 1), (3, 1, 3)]
)
def test_wider_stages_pass_more_channels(partial: int, widen: float, expected: int) -> None:
    assert partial_of(partial, Stage(widen=widen)) == expected


def stop_of(values: list[float], rule: Curvature) -> tuple[int, int] | None:
    """Return the epoch at which the rule stops and the epoch that it returns."""
    for epoch in range(len(values)):
        chosen = rule.stop_epoch(values[: epoch + 1])
        if chosen is not None:
            return epoch, chosen
    return None


def slow(values: list[float], window: int, patience: int, ratio: float) -> tuple[int, int] | None:
    """Compute all means first, then find the first epoch with enough growth."""
    means = {
        last: sum(values[last - k] for k in range(window)) / window
        for last in range(window - 1, len(values))
    }
    for epoch, mean in means.items():
        before = means.get(epoch - patience)
        if before is not None and mean > 0 and before < ratio * mean:
            return epoch, epoch - patience
    return None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("window", "patience", "ratio"), [(5, 5, 0.75), (3, 2, 0.9), (1, 1, 0.5)])
def test_random_walks_match_the_slow_implementation(
    seed: int, window: int, patience: int, ratio: float
) -> None:
    generator = random.Random(seed)
    values, value = [], 1.0
    for _ in range(40):
        value *= generator.uniform(0.85, 1.25)
        values.append(value)
    rule = Curvature(window=window, patience=patience, ratio=ratio)
    assert stop_of(values, rule) == slow(values, window, patience, ratio)


def test_the_rule_of_the_authors_code_looks_at_every_second_epoch() -> None:
    """Its window of five measurements is centered; the first possible stop is after epoch 22."""
    rule = Curvature(window=5, patience=4, ratio=1 / 1.3, every=2, centered=True, min_epoch=10)
    assert [epoch for epoch in range(8) if rule.is_due(epoch)] == [0, 2, 4, 6]
    growing = [1.2**n for n in range(25)]  # by a factor of 2.07 in four measurements
    for count in range(12):
        assert rule.stop_epoch(growing[:count]) is None
    assert rule.stop_epoch(growing[:12]) == 10  # after epoch 22
    assert rule.stop_epoch(growing[:13]) == 12
    assert rule.stop_epoch(growing[:25]) == 36  # after epoch 48
    assert rule.stop_epoch([1.06**n for n in range(25)]) is None  # by a factor of 1.26
    assert rule.stop_epoch([1.07**n for n in range(25)]) == 36  # by a factor of 1.31
