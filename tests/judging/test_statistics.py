"""Statistics, rankings and the paired bootstrap, compared with slow versions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from darts.judging.rankings import agreement, calibrated_weights, combined
from darts.judging.resampling import MIN_UNITS, TEXT_BLOCKS, paired_interval, units_of
from darts.judging.statistics import (
    Interval,
    bootstrap,
    cliffs_delta,
    compare_methods,
    delta_magnitude,
    holm,
    pairs_needed,
    search_means,
    sign_flip_test,
    verdict,
)
from darts.tasks.language_model import METRICS
from darts.tasks.metrics import Numbers, perplexity, ratio


def simulate(generator: np.random.Generator, searches: int) -> np.ndarray:
    """Draw four scores per search around 0.9 that differ most between searches."""
    of_search = 0.02 * generator.standard_normal((searches, 1))
    return np.asarray(0.9 + of_search + 0.01 * generator.standard_normal((searches, 4)))


@pytest.mark.parametrize("searches", [5, 10])
def test_intervals_cover_the_true_mean_at_their_level(searches: int) -> None:
    """Counting retrainings as observations would cover it far too rarely."""
    generator = np.random.default_rng(7)
    experiments, draws = 600, 1000
    by_search = by_retraining = 0
    for _ in range(experiments):
        scores = simulate(generator, searches)
        by_search += bootstrap(scores.tolist(), draws=draws).covers(0.9)
        by_retraining += bootstrap([[score] for score in scores.flatten()], draws=draws).covers(0.9)
    # The standard error of a rate of 0.95 in 600 experiments is 0.009.
    assert by_search / experiments == pytest.approx(0.95, abs=0.027)
    assert by_retraining / experiments < 0.85


def test_intervals_of_differences_cover_the_true_difference_at_their_level() -> None:
    """An effect of the seed on both methods does not widen the interval."""
    generator = np.random.default_rng(11)
    covered, experiments = 0, 600
    for _ in range(experiments):
        of_seed = 0.1 * generator.standard_normal((7, 1))
        ours, theirs = (simulate(generator, 7) + of_seed for _ in range(2))
        pair = ("a", (ours + 0.01).tolist()), [("b", theirs.tolist())]
        (found,) = compare_methods(*pair, draws=1000)
        covered += found.difference.covers(0.01)
        # 0.5 is about the spread of the effect of the seed.
        assert found.difference.high - found.difference.low < 0.5
    assert covered / experiments == pytest.approx(0.95, abs=0.027)


def test_the_interval_matches_the_exact_studentized_bootstrap() -> None:
    """The slow version enumerates all resamples of five searches."""
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


def test_retrainings_are_averaged_per_search() -> None:
    once = bootstrap([[1.0], [2.0], [3.0], [5.0], [8.0]])
    uneven = bootstrap([[1.0, 1.0], [1.0, 3.0], [3.0], [4.0, 5.0, 6.0], [8.0]])
    assert uneven == once
    np.testing.assert_allclose(search_means([[1.0, 3.0], [4.0]]), [2.0, 4.0])


def test_intervals_of_equal_or_few_searches() -> None:
    assert bootstrap([[0.5]] * 5) == Interval(0.5, 0.5, 0.5, 5)
    for few in ([[0.5]], [[0.5], [0.6]], [[0.5], [0.6], [0.7]]):
        found = bootstrap(few)
        assert (found.low, found.high) == (None, None)
        assert found.covers(100.0)  # without bounds, every value is covered


@pytest.mark.parametrize("count", [2, 5, 8])
def test_the_sign_flip_test_is_the_share_of_sign_changes_that_are_as_extreme(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.5, 1, count)
    sums = np.array(list(itertools.product((1, -1), repeat=count))) @ differences
    expected = np.mean(np.abs(sums) >= abs(differences.sum()) * (1 - 1e-9))
    assert sign_flip_test(differences.tolist()) == pytest.approx(expected)


def test_ties_count_as_extreme_in_the_sign_flip_test() -> None:
    """0.1 + 0.2 equals 0.3 here, in spite of rounding."""
    differences = [0.1, 0.2, -0.3]  # the sum is 0, so every sign change is as extreme
    assert sign_flip_test(differences) == 1.0
    assert sign_flip_test([0.0] * 6) == sign_flip_test([0.1]) == 1.0
    assert sign_flip_test([0.1] * 6) == 2 / 64


def test_pairs_needed_is_the_smallest_number_that_can_be_significant() -> None:
    assert [pairs_needed(n) for n in (1, 2, 3, 4)] == [6, 7, 7, 8]
    for comparisons in (1, 2, 3, 4, 10):
        pairs = pairs_needed(comparisons)
        assert comparisons * sign_flip_test([1.0] * pairs) <= 0.05
        assert comparisons * sign_flip_test([1.0] * (pairs - 1)) > 0.05


def test_holm_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


def test_cliffs_delta_matches_the_slow_version() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(6, size=9).tolist(), generator.integers(6, size=7).tolist()
    slow = sum((a > b) - (a < b) for a in ours for b in theirs) / 63
    assert cliffs_delta(ours, theirs) == pytest.approx(slow)
    assert cliffs_delta([2, 3], [0, 1]) == 1
    sizes = [delta_magnitude(delta) for delta in (0.1, -0.2, 0.4, -0.9)]
    assert sizes == ["negligible", "small", "medium", "large"]


def scores(*numbers: float) -> list[list[float]]:
    return [[number, number + 0.002] for number in numbers]


HIGH = scores(0.90, 0.91, 0.92, 0.90, 0.93, 0.91, 0.92)
LOW = scores(0.80, 0.82, 0.81, 0.80, 0.82, 0.83, 0.81)


def test_a_significant_difference_is_reported() -> None:
    (found,) = compare_methods(("darts", HIGH), [("random", LOW)])
    assert not found.objections
    assert "darts is better than random: difference 0.1" in verdict(found)
    assert f"corrected p = {2 / 128:.3g}" in verdict(found)
    assert "large" in verdict(found)
    (lower,) = compare_methods(("darts", HIGH), [("random", LOW)], higher_is_better=False)
    assert "darts is worse than random" in verdict(lower)
    assert "10.0 points" in verdict(found, lambda value: f"{100 * value:.1f} points")


def test_insignificant_differences_are_reported_with_reasons() -> None:
    """Reasons: too few searches, an interval that covers 0, a large p-value."""
    (few,) = compare_methods(("a", HIGH[:5]), [("b", LOW[:5])])
    assert few.objections
    assert "5 searches are too few" in verdict(few)
    assert "at least 6 are needed" in verdict(few)
    assert verdict(few).endswith("Cliff's delta 1.00).")
    (three,) = compare_methods(("a", HIGH[:3]), [("b", LOW[:3])])
    assert "no interval" in verdict(three)
    assert " [" not in verdict(three)
    (same,) = compare_methods(("a", HIGH), [("b", [*HIGH[1:], HIGH[0]])])
    assert verdict(same).startswith("No difference between a and b is shown: ")
    assert "covers 0" in verdict(same)
    assert "above 0.05" in verdict(same)
    two = compare_methods(("a", HIGH[:6]), [("b", LOW[:6]), ("c", LOW[:6])])
    for found in two:  # six suffice for a single comparison
        assert found.p == 2 / 64
        assert found.corrected_p == 4 / 64
        assert "at least 7 are needed" in verdict(found)


@pytest.mark.parametrize("differences", [[0.0] * 11 + [1.0], [2.0] * 7 + [3.0]])
def test_almost_equal_differences_are_not_reported_as_too_few(differences: list[float]) -> None:
    rows, zeros = [[d] for d in differences], [[0.0]] * len(differences)
    (found,) = compare_methods(("a", rows), [("b", zeros)])
    assert found.difference.low is None
    assert found.difference.why_unbounded == "almost all are equal"
    assert "no interval, as almost all differences are equal" in verdict(found)
    assert "few" not in verdict(found)
    assert bootstrap([[1.0], [2.0]]).why_unbounded == "too few searches"


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    pairs = list(itertools.combinations(range(len(a)), 2))
    x = np.array([np.sign(a[i] - a[j]) for i, j in pairs])
    y = np.array([np.sign(b[i] - b[j]) for i, j in pairs])
    return float((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()))


@pytest.mark.parametrize("seed", range(3))
def test_agreement_equals_direct_computations(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, truth = draw.integers(0, 8, 30).astype(float), draw.normal(size=30)
    found = agreement(scores, truth)
    ranks = [np.mean(np.flatnonzero(np.sort(scores) == s)) for s in scores]
    assert found.spearman == pytest.approx(np.corrcoef(ranks, truth.argsort().argsort())[0, 1])
    assert found.kendall == pytest.approx(kendall(scores, truth))


def test_top_recall_is_the_share_of_the_best_tenth_that_is_found() -> None:
    truth = np.arange(20.0)
    scores = truth.copy()
    scores[19] = -1  # the best architecture gets the worst score
    assert agreement(scores, truth).top_recall == 0.5
    assert agreement(truth, truth).top_recall == 1
    # Equal scores share the places; the order, which may be that of the truth, has no effect.
    truth = np.arange(20.0)[::-1].copy()
    assert agreement(np.zeros(20), truth).top_recall == pytest.approx(0.1)
    scores = np.array([1.0] * 4 + [0.0] * 16)  # 2 of these 4 are in the best tenth
    assert agreement(scores, truth).top_recall == pytest.approx(0.5)
    assert agreement(truth, scores).top_recall == pytest.approx(0.5)


def test_nan_counts_as_the_worst_score() -> None:
    truth = np.array([1.0, 2.0, 3.0])
    assert agreement(np.array([np.nan, 1.0, 2.0]), truth).spearman == pytest.approx(1)


def test_a_negative_weight_reverses_a_ranking() -> None:
    scores = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([3.0, 2.0, 1.0])}
    logs = np.log([1 / 3, 2 / 3, 1])
    assert combined(scores, {"a": 2.0, "b": -1.0}) == pytest.approx(3 * logs)
    assert combined(scores) == pytest.approx(logs + logs[::-1])


def test_calibration_reverses_a_score_with_the_wrong_sign() -> None:
    draw = np.random.default_rng(0)
    truth = np.arange(40.0)
    scores = {"right": truth**3, "wrong": -truth, "useless": draw.normal(size=40)}
    weights = calibrated_weights(scores, truth)
    assert (weights["right"], weights["wrong"]) == (pytest.approx(1), pytest.approx(-1))
    assert abs(weights["useless"]) < 0.3
    assert agreement(combined(scores, weights), truth).spearman > 0.9


def counted(values: Numbers) -> Numbers:
    """Return values and a column of ones."""
    return np.stack([values, np.ones(len(values))], axis=1)


def correlated_hits(rng: np.random.Generator, count: int) -> tuple[Numbers, Numbers]:
    """Return whether two networks are right on samples that are difficult for both or none."""
    difficulty = rng.uniform(size=count)
    right = (difficulty + 0.1 * rng.normal(size=count) < rate for rate in (0.8, 0.75))
    ours, theirs = (counted(own.astype(float)) for own in right)
    return ours, theirs


def slow_interval(
    found: Numbers, baseline: Numbers, metric: Callable[[Numbers], float], draws: int
) -> tuple[float, float]:
    """Draw samples, compute the metric of each network on them, and sort the differences."""
    rng, count = np.random.default_rng(123), len(found)
    differences = []
    for _ in range(draws):
        chosen = rng.integers(count, size=count)
        differences.append(metric(found[chosen]) - metric(baseline[chosen]))
    tail = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1))
    low, high = np.percentile(differences, [100 * tail, 100 - 100 * tail])
    return float(low), float(high)


def test_the_interval_of_the_accuracy_equals_that_of_a_slow_bootstrap() -> None:
    found, baseline = correlated_hits(np.random.default_rng(0), 200)
    expected = slow_interval(found, baseline, lambda rows: rows[:, 0].mean(), 5_000)
    actual = paired_interval(found, baseline, ratio, draws=5_000)
    # Up to one sample: differences of accuracies are multiples of 1/200.
    assert actual == pytest.approx(expected, abs=1.01 / 200)


@pytest.mark.parametrize("count", [30, 400])
def test_the_interval_of_the_perplexity_equals_that_of_a_slow_bootstrap(count: int) -> None:
    """Units have different numbers of tokens, so the order of sum and division matters."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 60, size=count).astype(float)
    level = rng.gamma(4.0, size=count)
    ours, theirs = (
        np.stack([tokens * (level + shift + 0.2 * rng.normal(size=count)), tokens], axis=1)
        for shift in (0.0, 0.05)
    )
    expected = slow_interval(
        ours, theirs, lambda rows: math.exp(rows[:, 0].sum() / rows[:, 1].sum()), 5_000
    )
    actual = paired_interval(ours, theirs, perplexity, draws=5_000)
    assert actual == pytest.approx(expected, abs=0.05 * (expected[1] - expected[0]))


@pytest.mark.parametrize(("count", "kind"), [(20, "losses"), (100, "losses"), (400, "hits")])
def test_intervals_cover_the_true_difference_as_often_as_claimed(count: int, kind: str) -> None:
    """The confidence level is 95 %; the tolerance is 3 standard errors of 300 repetitions."""
    rng, repetitions, covered = np.random.default_rng(4), 300, 0
    for repetition in range(repetitions):
        if kind == "hits":
            difficulty, luck = rng.uniform(size=(2, count))
            ours = counted((difficulty < 0.8).astype(float))
            right = np.where(luck < 0.9, difficulty < 0.75, difficulty < 0.5)
            theirs = counted(right.astype(float))
            truth = 0.8 - (0.9 * 0.75 + 0.1 * 0.5)
        else:
            level = rng.gamma(2.0, size=count)
            ours = counted(level + rng.normal(size=count))
            theirs = counted(level + rng.exponential(size=count))
            truth = -1.0
        bounds = paired_interval(ours, theirs, ratio, draws=400, seed=repetition)
        covered += bounds[0] <= truth <= bounds[1]
    error = math.sqrt(0.95 * 0.05 / repetitions)
    assert covered / repetitions == pytest.approx(0.95, abs=3 * error)


def test_few_units_and_results_that_are_not_finite_have_no_interval() -> None:
    found, baseline = correlated_hits(np.random.default_rng(0), MIN_UNITS)
    assert paired_interval(found, 0.5 * baseline, ratio) is not None
    assert paired_interval(found[1:], 0.5 * baseline[1:], ratio) is None
    for value in (math.nan, math.inf):
        diverged = found.copy()
        diverged[3, 0] = value
        assert paired_interval(diverged, baseline, ratio) is None


@pytest.mark.parametrize("samples", [103, 2 * TEXT_BLOCKS, 7])
def test_the_units_of_a_text_are_blocks_of_almost_equal_length(samples: int) -> None:
    metric = METRICS["bits"]
    rows = np.stack([np.arange(samples), np.ones(samples)], axis=1)
    blocks = units_of(metric, rows)
    assert len(blocks) == min(samples, TEXT_BLOCKS)
    assert blocks[:, 1].max() - blocks[:, 1].min() <= 1
    assert metric.of(blocks) == pytest.approx(metric.of(rows))
    position = 0
    for total, length in blocks:
        assert total == sum(range(position, position + int(length)))
        position += int(length)
    assert position == samples
