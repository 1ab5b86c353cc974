"""The best choice within limits agrees with trying all choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from darts.judging.limits import knapsack
from darts.judging.limits.knapsack import best_choice


def problem(
    seed: int, decisions: int, options: int, costs: int, *, integers: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return random scores and costs, and a limit that about a third of all choices keep."""
    draw = np.random.default_rng(seed)
    scores = [draw.normal(size=options) for _ in range(decisions)]
    tables = [draw.uniform(size=(options, costs)) for _ in range(decisions)]
    if integers:
        tables = [np.floor(4 * table) for table in tables]
    picks = draw.integers(options, size=(500, decisions))
    sums = np.sum([tables[n][picks[:, n]] for n in range(decisions)], axis=0)
    return scores, tables, np.quantile(sums, 0.3, axis=0)


def total(tables: list[np.ndarray], choice: tuple[int, ...]) -> np.ndarray:
    return np.sum([table[option] for table, option in zip(tables, choice, strict=True)], axis=0)


def by_trial(
    scores: list[np.ndarray], tables: list[np.ndarray], limits: np.ndarray
) -> tuple[int, ...] | None:
    """Return the best of all choices."""
    choices = itertools.product(*(range(len(own)) for own in scores))
    fitting = [choice for choice in choices if (total(tables, choice) <= limits).all()]
    return max(fitting, key=lambda choice: float(total(scores, choice)), default=None)


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_with_one_cost_the_choice_is_optimal(seed: int, integers: bool) -> None:
    scores, tables, limits = problem(seed, 5, 4, 1, integers=integers)
    expected, found = by_trial(scores, tables, limits), best_choice(scores, tables, limits)
    assert expected is not None
    assert found is not None
    assert total(tables, found) <= limits
    assert float(total(scores, found)) == pytest.approx(float(total(scores, expected)), abs=1e-12)


def test_with_several_costs_the_choice_keeps_all_limits_and_is_close_to_optimal() -> None:
    lost = []
    for seed in range(40):
        scores, tables, limits = problem(seed, 5, 4, 3)
        expected, found = by_trial(scores, tables, limits), best_choice(scores, tables, limits)
        assert (expected is None) == (found is None)
        if expected is None or found is None:
            continue
        assert (total(tables, found) <= limits).all()
        best = float(total(scores, expected))
        assert float(total(scores, found)) <= best + 1e-12
        lost.append(best - float(total(scores, found)))
    assert len(lost) > 20
    assert np.mean(lost) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_sum_is_possible_and_anything_below_is_not(seed: int) -> None:
    scores, tables, _ = problem(seed, 6, 5, 1)
    smallest = np.sum([table.min(axis=0) for table in tables], axis=0)
    found = best_choice(scores, tables, smallest + 1e-12)
    assert found == tuple(int(table.argmin()) for table in tables)
    assert best_choice(scores, tables, smallest - 1e-6) is None


def test_a_large_problem_keeps_its_limit_although_its_front_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, tables, limits = problem(0, 10, 60, 1)
    whole = best_choice(scores, tables, limits)
    monkeypatch.setattr(knapsack, "MAX_STATES", 40)
    found = best_choice(scores, tables, limits)
    assert whole is not None
    assert found is not None
    assert found != whole  # so the front was cut
    assert total(tables, found) <= limits
    assert float(total(scores, found)) <= float(total(scores, whole)) + 1e-12
    # A relaxation bounds the optimum from above: no choice is better than the best of
    # score - price * (cost - limit / decisions), summed over the decisions, for any price.
    bounds = []
    for price in np.linspace(0, 20, 401):
        parts = [
            (score - price * (table[:, 0] - limits[0] / 10)).max()
            for score, table in zip(scores, tables, strict=True)
        ]
        bounds.append(sum(parts))
    assert min(bounds) - float(total(scores, found)) < 0.2
