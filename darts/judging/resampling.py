"""The paired bootstrap: an interval for the difference of two networks' scores on a test split.

A resample draws as many units as the split has, with replacement, and both networks are scored on
it. A unit is a sample, or a block of consecutive tokens of a text. The spread of the difference
over resamples is its uncertainty due to the choice of the samples. It does not include the variance
between runs; to measure that, train with several seeds.

References:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
    Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician, 2015:
    the expanded percentile interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from darts.judging.statistics import LEVEL
from darts.tasks.metrics import Metric, Numbers, Value

# Blocks of consecutive tokens that are the units of a text. The tokens of a text depend on each
# other over long distances, so units must be long: on the Penn Treebank, windows of 35 tokens give
# intervals that are less than half as wide.
TEXT_BLOCKS = 50

MIN_UNITS = 10  # units that an interval needs
_CHUNK = 2**18  # entries of one matrix of counts, which fit into the cache
_MAX_DRAWN = 5 * 10**7  # units that all resamples together draw one by one, in a few seconds
_MIN_DRAWS = 1_000
_REPEATED = 8  # mean number of units per distinct result from which draws are multinomial


def paired_interval(
    found: Numbers,
    baseline: Numbers,
    value: Value,
    *,
    draws: int = 10_000,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    """Return the expanded percentile interval of the difference of ``value``, found minus baseline.

    Plain percentile intervals are too narrow for few units. For ``n`` units, the share of resamples
    beyond each bound is therefore ``Phi(sqrt(n / (n - 1)) * t)`` instead of ``(1 - level) / 2``.
    ``Phi`` is the standard normal distribution function, and ``t`` is the quantile
    ``(1 - level) / 2`` of Student's t with ``n - 1`` degrees of freedom.

    Args:
        found, baseline: Results of each unit, ``(units, k)``. Row i of both is the same unit.
        draws: Number of resamples; fewer, but at least 1,000, for more than 5,000 units if there
            are on average fewer than eight units per distinct result, as with losses.

    Returns:
        Both bounds; None for fewer than ``MIN_UNITS`` units or a difference that is not finite.
    """
    from scipy.stats import norm, t

    units = len(found)
    if units < MIN_UNITS:
        return None
    if np.array_equal(found, baseline):
        return 0.0, 0.0
    if not (np.isfinite(found).all() and np.isfinite(baseline).all()):
        return None
    # Units with equal results are interchangeable, so a resample is a multinomial count of the
    # distinct results: often a few hundred instead of 10,000.
    pairs = np.concatenate([found, baseline], axis=1)
    distinct, occurrences = np.unique(pairs, axis=0, return_counts=True)
    ours, theirs = distinct[:, : found.shape[1]], distinct[:, found.shape[1] :]
    differences = np.concatenate(
        [
            value(counts, ours) - value(counts, theirs)
            for counts in _resamples(occurrences, draws, np.random.default_rng(seed))
        ]
    )
    tail = float(norm.cdf(math.sqrt(units / (units - 1)) * t.ppf((1 - level) / 2, units - 1)))
    low, high = np.quantile(differences, [tail, 1 - tail])
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None


def units_of(metric: Metric, rows: Numbers) -> Numbers:
    """Return the results of the units that are resampled, ``(units, k)``.

    They are the rows of the samples, ``(samples, k)``, or the sums of consecutive rows of a text in
    at most ``TEXT_BLOCKS`` blocks, whose lengths differ by at most one.
    """
    if not metric.text:
        return rows
    count = min(TEXT_BLOCKS, len(rows))
    starts = np.arange(count) * len(rows) // count
    return np.asarray(np.add.reduceat(rows, starts, axis=0))


def _resamples(
    occurrences: NDArray[np.int64], draws: int, generator: np.random.Generator
) -> Iterator[Numbers]:
    """Yield how often each resample contains each distinct result, ``(chunk, distinct)``."""
    units, distinct = int(occurrences.sum()), len(occurrences)
    repeated = distinct * _REPEATED <= units
    if not repeated:
        draws = min(draws, max(_MIN_DRAWS, _MAX_DRAWN // units))
    result_of = np.repeat(np.arange(distinct), occurrences)
    chunk = max(1, _CHUNK // (distinct if repeated else units))
    for start in range(0, draws, chunk):
        count = min(chunk, draws - start)
        if repeated:
            counts = generator.multinomial(units, occurrences / units, size=count)
        else:  # faster than multinomial for many distinct results
            chosen = result_of[generator.integers(units, size=(count, units), dtype=np.uint32)]
            chosen += distinct * np.arange(count)[:, None]
            counts = np.bincount(chosen.ravel(), minlength=count * distinct)
            counts = counts.reshape(count, distinct)
        yield counts.astype(np.float64)
