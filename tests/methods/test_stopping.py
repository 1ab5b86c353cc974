"""Stopping rules on artificial sequences of eigenvalues."""

from __future__ import annotations

import random

import pytest

from darts.methods.stopping import Curvature


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
