"""How well a latency model predicts measurements, compared with counting weights or MACs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from darts.judging.devices.fitting import Fit, fit_latency
from darts.judging.devices.linear_model import Kind
from darts.judging.devices.pieces import candidates_of
from darts.judging.rankings import agreement
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces import AnyGenotype, Space

Array: TypeAlias = NDArray[np.float64]

COUNTS = {"parameters": "parameters", "macs": "flops"}
"""By name of a trivial predictor, the cost in ``MEASURES`` that it is proportional to."""


@dataclass(frozen=True)
class Accuracy:
    """Agreement of predictions with measurements.

    Attributes:
        spearman: Correlation of ranks, in [-1, 1].
        kendall: Kendall's tau-b, in [-1, 1].
        rmse_ms: Root mean square error in milliseconds.
    """

    spearman: float
    kendall: float
    rmse_ms: float

    @classmethod
    def of(cls, predictions: Array, latencies: Array) -> Accuracy:
        """Compare predictions with measurements, both ``(n,)`` in milliseconds."""
        ranks = agreement(predictions, latencies)
        rmse = float(np.sqrt(np.mean((predictions - latencies) ** 2)))
        return cls(ranks.spearman, ranks.kendall, rmse)


@dataclass(frozen=True)
class FittedLatency:
    """Fitted models, and how well they and trivial predictors predict the other networks.

    Attributes:
        fits: The best model of each kind, the chosen kind first.
        accuracies: By kind, and by name of a trivial predictor, the accuracy on the networks that
            no model was fitted to.
        tested: Number of these networks.
    """

    fits: dict[Kind, Fit]
    accuracies: dict[str, Accuracy]
    tested: int


def fit_and_test(
    genotypes: Sequence[AnyGenotype],
    latencies: Array,
    counts: dict[str, Array],
    *,
    train: int,
    device: str,
    seed: int,
) -> FittedLatency:
    """Fit latency models to random networks, and test them on all others.

    Args:
        genotypes: Genotypes of one space, n of them.
        latencies: Their latencies in milliseconds, ``(n,)``.
        counts: Those of ``count``. A line that is fitted to the training networks turns them into
            milliseconds.
        train: Number of networks to fit to; the draw depends on the order of the genotypes.
        device: Name of the device.
        seed: Seed of the draw and of the cross-validation.

    Raises:
        ValueError: If ``train`` leaves fewer than two networks.
    """
    if train > len(genotypes) - 2:
        raise ValueError(
            f"train={train} leaves fewer than 2 of {len(genotypes)} networks to test the model; "
            "lower it"
        )
    order = np.random.default_rng(seed).permutation(len(genotypes))
    known, rest = order[:train], order[train:]
    fits = fit_latency([genotypes[n] for n in known], latencies[known], device=device, seed=seed)
    accuracies: dict[str, Accuracy] = {}
    for kind, fit in fits.items():
        predictions = np.array([fit.model.predict(genotypes[n]) for n in rest])
        accuracies[kind] = Accuracy.of(predictions, latencies[rest])
    for name, values in counts.items():
        line = np.column_stack([values[known], np.ones(train)])
        (slope, intercept), *_ = np.linalg.lstsq(line, latencies[known], rcond=None)
        accuracies[name] = Accuracy.of(slope * values[rest] + intercept, latencies[rest])
    return FittedLatency(fits, accuracies, len(rest))


def count(
    space: Space, genotypes: Sequence[AnyGenotype], *, classes: int, sample_shape: Sequence[int]
) -> dict[str, Array]:
    """Return the parameters and the MACs of the networks of genotypes, each ``(n,)``."""
    candidates = candidates_of(space, classes=classes, sample_shape=tuple(sample_shape))
    costs = {
        name: ExpectedCost.measured(
            space,
            candidates,
            classes=classes,
            sample_shape=sample_shape,
            measure=MEASURES[measure],
            device=torch.device("cpu"),
        )
        for name, measure in COUNTS.items()
    }
    counted: dict[str, list[float]] = {name: [] for name in costs}
    for genotype in genotypes:
        masks = space.mask(genotype, candidates)
        usage = {group: mask.double() for group, mask in masks.items()}
        for name, cost in costs.items():
            counted[name].append(float(cost(usage)))
    return {name: np.array(values) for name, values in counted.items()}
