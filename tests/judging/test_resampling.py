"""The paired bootstrap, compared with a slow one, and its coverage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from darts.judging.resampling import MIN_UNITS, TEXT_BLOCKS, paired_interval, units_of
from darts.tasks.language_model import METRICS
from darts.tasks.metrics import Numbers, perplexity, ratio


def counted(values: Numbers) -> Numbers:
    """Return values and a column of ones."""
    return np.stack([values, np.ones(len(values))], axis=1)


def correlated_hits(
    rng: np.random.Generator, count: int, rates: tuple[float, float] = (0.8, 0.75)
) -> tuple[Numbers, Numbers]:
    """Return whether two networks are right on samples that are difficult for both or none."""
    difficulty = rng.uniform(size=count)
    ours, theirs = (
        ((difficulty + 0.1 * rng.normal(size=count)) < rate).astype(float) for rate in rates
    )
    return counted(ours), counted(theirs)


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


def test_repeated_and_distinct_results_are_drawn_with_the_same_probabilities() -> None:
    """Hits are drawn as counts of distinct results; with noise they are all distinct."""
    rng = np.random.default_rng(2)
    found, baseline = correlated_hits(rng, 1000)
    noise = 1e-9 * rng.normal(size=found.shape)
    repeated = paired_interval(found, baseline, ratio)
    distinct = paired_interval(found + noise, baseline, ratio)
    assert distinct == pytest.approx(repeated, abs=1.01 / 1000)


@pytest.mark.parametrize(("count", "kind"), [(20, "losses"), (100, "losses"), (400, "hits")])
def test_the_interval_covers_the_true_difference_as_often_as_it_claims(
    count: int, kind: str
) -> None:
    """The confidence level is 95 %; the tolerance is 3 standard errors of 300 repetitions."""
    rng, repetitions, covered = np.random.default_rng(4), 300, 0
    for repetition in range(repetitions):
        if kind == "hits":
            difficulty, luck = rng.uniform(size=(2, count))
            ours = counted((difficulty < 0.8).astype(float))
            theirs = counted(
                np.where(luck < 0.9, difficulty < 0.75, difficulty < 0.5).astype(float)
            )
            truth = 0.8 - (0.9 * 0.75 + 0.1 * 0.5)
        else:
            level = rng.gamma(2.0, size=count)
            ours = counted(level + rng.normal(size=count))
            theirs = counted(level + rng.exponential(size=count))
            truth = -1.0
        bounds = paired_interval(ours, theirs, ratio, draws=400, seed=repetition)
        covered += bounds[0] <= truth <= bounds[1]
    assert covered / repetitions == pytest.approx(
        0.95, abs=3 * math.sqrt(0.95 * 0.05 / repetitions)
    )


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
