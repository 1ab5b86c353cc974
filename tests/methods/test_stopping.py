"""When a search stops, and which epoch it goes back to, on sequences made up."""

from __future__ import annotations

import random

import pytest

from darts.methods.stopping import STOPPING, Curvature, Never


def stop_of(values: list[float], rule: Curvature) -> tuple[int, int] | None:
    """The epoch at which the rule stops, told of one after the other, and what it returns."""
    for epoch in range(len(values)):
        chosen = rule.stop_epoch(values[: epoch + 1])
        if chosen is not None:
            return epoch, chosen
    return None


def slow(values: list[float], window: int, patience: int, ratio: float) -> tuple[int, int] | None:
    """All means first, then the first epoch at which they have grown enough."""
    means = {
        last: sum(values[last - k] for k in range(window)) / window
        for last in range(window - 1, len(values))
    }
    for epoch, mean in means.items():
        before = means.get(epoch - patience)
        if before is not None and mean > 0 and before < ratio * mean:
            return epoch, epoch - patience
    return None


def test_a_flat_or_falling_sequence_never_stops() -> None:
    assert stop_of([0.3] * 50, Curvature()) is None
    assert stop_of([1 / (epoch + 1) for epoch in range(50)], Curvature()) is None
    assert stop_of([0.0] * 50, Curvature()) is None
    assert stop_of([-1.0 - epoch for epoch in range(50)], Curvature()) is None


def test_too_short_a_sequence_never_stops() -> None:
    """A window of five and a patience of five need ten epochs."""
    explosive = [10.0**epoch for epoch in range(9)]
    assert stop_of(explosive, Curvature()) is None
    assert stop_of([*explosive, 1e9], Curvature()) == (9, 4)
    assert Curvature().stop_epoch([]) is None


def test_it_goes_back_by_the_patience_once_growth_begins() -> None:
    """Flat at 1 for 20 epochs, then 3: two of them in a window of five make a mean of 1.8."""
    values = [1.0] * 20 + [3.0] * 20
    # A mean of 1.4 after the first, of which 1 is 0.71: below three quarters.
    assert stop_of(values, Curvature()) == (20, 15)
    assert stop_of(values, Curvature(ratio=0.6)) == (21, 16)
    assert stop_of(values, Curvature(ratio=0.3)) is None
    assert stop_of(values, Curvature(patience=2)) == (20, 18)
    assert stop_of(values, Curvature(window=1)) == (20, 15)


def test_slow_growth_is_let_pass() -> None:
    # Five epochs of 5 % make 0.784, of 6 % make 0.747.
    assert stop_of([1.05**epoch for epoch in range(60)], Curvature()) is None
    assert stop_of([1.06**epoch for epoch in range(60)], Curvature()) == (9, 4)


def test_one_outlier_is_averaged_out() -> None:
    values = [1.0] * 30
    values[15] = 2.5  # a mean of 1.3, of which 1 is 0.77
    assert stop_of(values, Curvature()) is None
    assert stop_of(values, Curvature(window=1)) == (15, 10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("window", "patience", "ratio"), [(5, 5, 0.75), (3, 2, 0.9), (1, 1, 0.5)])
def test_random_walks_as_written_out(seed: int, window: int, patience: int, ratio: float) -> None:
    draw = random.Random(seed)
    values, value = [], 1.0
    for _ in range(40):
        value *= draw.uniform(0.85, 1.25)
        values.append(value)
    rule = Curvature(window=window, patience=patience, ratio=ratio)
    assert stop_of(values, rule) == slow(values, window, patience, ratio)


def test_never() -> None:
    assert Never().stop_epoch([10.0**epoch for epoch in range(30)]) is None
    assert {name: STOPPING[name].needs_curvature for name in STOPPING} == {
        "curvature": True,
        "never": False,
    }
