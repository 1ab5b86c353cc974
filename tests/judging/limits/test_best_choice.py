"""The best choice within limits agrees with trying all choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from darts.judging.limits.genotype_limits import best_choice


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


@pytest.mark.parametrize("costs", [1, 3])
@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_the_choice_is_optimal(seed: int, integers: bool, costs: int) -> None:
    scores, tables, limits = problem(seed, 5, 4, costs, integers=integers)
    expected, found = by_trial(scores, tables, limits), best_choice(scores, tables, limits)
    assert (expected is None) == (found is None)
    if expected is None or found is None:
        return
    assert (total(tables, found) <= limits + 1e-6).all()
    assert float(total(scores, found)) == pytest.approx(float(total(scores, expected)), abs=1e-9)


def test_excluded_choices_are_followed_by_the_next_best() -> None:
    scores, tables, limits = problem(0, 4, 3, 1)
    choices = itertools.product(range(3), repeat=4)
    fitting = [choice for choice in choices if total(tables, choice) <= limits]
    fitting.sort(key=lambda choice: -float(total(scores, choice)))
    for count in range(len(fitting)):
        assert best_choice(scores, tables, limits, fitting[:count]) == fitting[count]
    assert best_choice(scores, tables, limits, fitting) is None


def test_options_that_almost_never_fit_do_not_hide_small_differences() -> None:
    scores = [np.array([0.0, -1e-3, -1e6]), np.array([-2e-3, 0.0, -1e6])]
    tables = [np.array([[2.0], [1.0], [0.0]]), np.array([[1.0], [2.0], [0.0]])]
    assert best_choice(scores, tables, np.array([3.0])) == (1, 1)
    assert best_choice(scores, tables, np.array([2.0])) == (1, 0)
    assert best_choice(scores, tables, np.array([1.0])) in {(1, 2), (2, 0)}
