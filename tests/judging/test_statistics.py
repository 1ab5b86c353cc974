"""Statistics agree with slow versions and scipy's, and intervals cover what they promise to."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from darts.judging.statistics import (
    Comparison,
    Interval,
    bootstrap,
    cliffs_delta,
    compare,
    holm,
    in_words,
    least_p,
    means,
    pairs_needed,
    sign_flip_test,
    verdict,
)


def made_up(generator: np.random.Generator, searches: int, retrainings: int = 4) -> np.ndarray:
    """Scores ``(searches, retrainings)`` around 0.9: genotypes differ more than retrainings."""
    of_search = 0.02 * generator.standard_normal((searches, 1))
    return np.asarray(0.9 + of_search + 0.01 * generator.standard_normal((searches, retrainings)))


@pytest.mark.parametrize("searches", [5, 10])
def test_intervals_cover_the_truth_at_their_rate(searches: int) -> None:
    """600 seeded studies; retrainings as observations of their own would cover far less."""
    generator = np.random.default_rng(7)
    studies, draws = 600, 1000
    right = wrong = 0
    for _ in range(studies):
        scores = made_up(generator, searches)
        right += bootstrap(scores.tolist(), draws=draws).covers(0.9)
        wrong += bootstrap([[score] for score in scores.flatten()], draws=draws).covers(0.9)
    # The error of a rate of 0.95 over 600 studies is 0.009.
    assert right / studies == pytest.approx(0.95, abs=0.027)
    assert wrong / studies < 0.85


def test_intervals_of_differences_cover_the_truth_at_their_rate() -> None:
    """What a seed does to both, as its split of the data, is no spread of the difference."""
    generator = np.random.default_rng(11)
    covered, studies = 0, 600
    for _ in range(studies):
        of_seed = 0.1 * generator.standard_normal((7, 1))
        ours, theirs = (made_up(generator, 7) + of_seed for _ in range(2))
        (found,) = compare(("a", (ours + 0.01).tolist()), [("b", theirs.tolist())], draws=1000)
        covered += found.difference.covers(0.01)
        assert found.difference.low is not None
        assert found.difference.high is not None
        assert found.difference.high - found.difference.low < 0.5  # of_seed alone is as wide
    assert covered / studies == pytest.approx(0.95, abs=0.027)


def test_the_interval_is_that_of_all_resamples() -> None:
    """A slow studentized bootstrap over all resamples of five searches."""
    values = [0.1, 0.4, 0.5, 0.9, 1.6]
    mean = sum(values) / 5
    ratios = []
    for drawn in itertools.product(values, repeat=5):
        center = sum(drawn) / 5
        spread = math.sqrt(sum((value - center) ** 2 for value in drawn) / 4)
        if spread < 1e-12:
            ratios.append(math.copysign(math.inf, center - mean))
        else:
            ratios.append((center - mean) / spread)
    ratios.sort()
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 4)
    outside = int(0.1 * len(ratios))
    slow = (mean - spread * ratios[-1 - outside], mean - spread * ratios[outside])
    fast = bootstrap([[value] for value in values], level=0.8, draws=200_000)
    assert (fast.low, fast.high) == pytest.approx(slow, rel=0.03)
    assert fast.mean == pytest.approx(mean)


def test_retrainings_are_averaged_so_that_each_search_counts_once() -> None:
    once = bootstrap([[1.0], [2.0], [3.0], [5.0], [8.0]])
    uneven = bootstrap([[1.0, 1.0], [1.0, 3.0], [3.0], [4.0, 5.0, 6.0], [8.0]])
    assert uneven == once
    np.testing.assert_allclose(means([[1.0, 3.0], [4.0]]), [2.0, 4.0])


def test_intervals_of_special_data() -> None:
    assert bootstrap([[0.5]] * 5) == Interval(0.5, 0.5, 0.5, 5)
    for few in ([[0.5]], [[0.5], [0.6]], [[0.5], [0.6], [0.7]]):
        found = bootstrap(few)
        assert (found.low, found.high) == (None, None)
        assert found.covers(100.0)  # nothing speaks against anything
    for wrong in ([], [[0.5], []]):
        with pytest.raises(ValueError, match="there must be searches"):
            bootstrap(wrong)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_test_is_the_permutation_test_of_scipy(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.5, 1, count)
    if count == 1:
        assert sign_flip_test(differences.tolist()) == 1.0
        return
    theirs = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(differences.tolist()) == pytest.approx(theirs.pvalue)


def test_ties_in_the_test_count_as_extreme() -> None:
    """0.1 + 0.2 and 0.3 are the same difference, though not the same number."""
    differences = [0.1, 0.2, -0.3]  # sums to nothing, so that every change is as extreme
    assert sign_flip_test(differences) == 1.0
    assert sign_flip_test([0.0] * 6) == 1.0
    assert sign_flip_test([0.1] * 6) == least_p(6) == 2 / 64


def test_many_pairs_are_tested_by_drawn_signs() -> None:
    differences = np.random.default_rng(0).normal(0.45, 1, 20)
    slow = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=99_999, random_state=1
    )
    assert sign_flip_test(differences.tolist()) == pytest.approx(slow.pvalue, abs=0.004)
    assert sign_flip_test([1.0] * 40) > 0


def test_the_test_errs_as_often_as_it_says() -> None:
    """Without an effect, p is below 0.05 in at most a twentieth of the studies."""
    generator = np.random.default_rng(3)
    errors = sum(sign_flip_test(generator.standard_normal(7).tolist()) <= 0.05 for _ in range(2000))
    assert 0.03 < errors / 2000 < 0.06  # 3 of 64 is what seven pairs allow


def test_how_many_pairs_are_needed() -> None:
    assert [pairs_needed(n) for n in (1, 2, 3, 4)] == [6, 7, 7, 8]
    for comparisons in (1, 2, 3, 4, 10):
        pairs = pairs_needed(comparisons)
        assert comparisons * sign_flip_test([1.0] * pairs) <= 0.05
        assert comparisons * sign_flip_test([1.0] * (pairs - 1)) > 0.05


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


def test_cliffs_delta() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(6, size=9).tolist(), generator.integers(6, size=7).tolist()
    slow = sum((a > b) - (a < b) for a in ours for b in theirs) / 63
    assert cliffs_delta(ours, theirs) == pytest.approx(slow)
    assert cliffs_delta([2, 3], [0, 1]) == 1
    sizes = [in_words(delta) for delta in (0.1, -0.2, 0.4, -0.9)]
    assert sizes == ["negligible", "small", "medium", "large"]


def scores(*numbers: float) -> list[list[float]]:
    return [[number, number + 0.002] for number in numbers]


FAR = scores(0.90, 0.91, 0.92, 0.90, 0.93, 0.91, 0.92)
NEAR = scores(0.80, 0.82, 0.81, 0.80, 0.82, 0.83, 0.81)


def test_a_difference_is_called_by_its_name() -> None:
    (found,) = compare(("darts", FAR), [("random", NEAR)])
    assert found.shown
    assert "darts is better than random: difference 0.1" in verdict(found)
    assert f"p = {2 / 128:.3g}" in verdict(found)
    assert "large" in verdict(found)
    (lower,) = compare(("darts", FAR), [("random", NEAR)], higher_is_better=False)
    assert "darts is worse than random" in verdict(lower)
    assert "10.0 points" in verdict(found, lambda value: f"{100 * value:.1f} points")


def test_no_difference_is_called_one() -> None:
    """Too few seeds, an interval that covers 0, a large p."""
    (few,) = compare(("a", FAR[:5]), [("b", NEAR[:5])])
    assert not few.shown
    assert "5 searches are too few" in verdict(few)
    assert "at least 6 are needed" in verdict(few)
    (three,) = compare(("a", FAR[:3]), [("b", NEAR[:3])])
    assert "no interval" in verdict(three)
    assert " [" not in verdict(three)
    (same,) = compare(("a", FAR), [("b", [*FAR[1:], FAR[0]])])
    assert verdict(same).startswith("No difference between a and b is shown: ")
    assert "covers 0" in verdict(same)
    assert "above 0.05" in verdict(same)
    two = compare(("a", FAR[:6]), [("b", NEAR[:6]), ("c", NEAR[:6])])
    for found in two:  # six would do for one comparison
        assert found.p == 2 / 64
        assert found.corrected == 4 / 64
        assert "at least 7 are needed" in verdict(found)


@pytest.mark.parametrize("differences", [[0.0] * 11 + [1.0], [2.0] * 7 + [3.0]])
def test_almost_equal_differences_are_not_called_few(differences: list[float]) -> None:
    (found,) = compare(("a", [[d] for d in differences]), [("b", [[0.0]] * len(differences))])
    assert found.difference.low is None
    assert found.difference.lacking == "almost all are equal"
    assert "no interval, as almost all differences are equal" in verdict(found)
    assert "few" not in verdict(found)
    assert bootstrap([[1.0], [2.0]]).lacking == "too few searches"


def test_an_interval_alone_is_not_enough() -> None:
    interval = Interval(0.1, 0.05, 0.15, 8)
    assert Comparison("a", "b", interval, 0.01, 0.02, 0.5, 2).shown
    assert not Comparison("a", "b", interval, 0.04, 0.08, 0.5, 2).shown
    assert not Comparison("a", "b", Interval(0.1, -0.05, 0.15, 8), 0.01, 0.02, 0.5, 2).shown


def test_methods_must_have_been_searched_equally_often() -> None:
    with pytest.raises(ValueError, match="a has 7 searches and b 6"):
        compare(("a", FAR), [("b", NEAR[:6])])
