"""A predictor of the rank of architectures: an ensemble over encodings, with its uncertainty.

References:
    White et al., "BANANAS", arXiv:1910.11858, section 3: ensembles of predictors for search.
    White et al., "How Powerful are Performance Predictors in Neural Architecture Search?",
    arXiv:2104.01177, section 4: training-free scores as inputs of a predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from darts.judging.rankings import Values, combined, rank_fractions
from darts.judging.surrogate import MIN_POINTS, Surrogate
from darts.spaces.parameters import Parameter, Parameters, Point, Range

__all__ = ["MIN_POINTS", "predict"]

_MODELS = ("forest", "gp")


def predict(
    parameters: Sequence[Parameter],
    points: Sequence[Point],
    scores: Mapping[str, Values],
    truth: Values,
    known: NDArray[np.bool_],
    *,
    seed: int = 0,
) -> tuple[Values, Values]:
    """Predict the rank of all architectures from the truth of some.

    The members of the ensemble are a random forest and a Gaussian process for each of three
    encodings: the operations, the ranks of the scores and of their combination, and both. They
    learn ranks, since the accuracies of a few bad architectures would dominate all others.

    Args:
        parameters: Parameters of the space.
        points: Architectures as points of the parameters, n of them.
        scores: Cheap scores ``(n,)`` by name; may be empty.
        truth: True scores ``(n,)``; only those of known architectures are read.
        known: Which architectures have a truth, ``(n,)``; at least ``MIN_POINTS``.
        seed: Seed of the random forests.

    Returns:
        Mean and standard deviation of the members' predictions, each ``(n,)``: the share of the
        known architectures that are not better.

    Raises:
        ValueError: If too few architectures are known.
    """
    ranks = {f"score/{name}": rank_fractions(values) for name, values in scores.items()}
    if scores:
        ranks["score"] = rank_fractions(combined(scores))
    score_parameters = [Parameter(name, Range(0.0, 1.0)) for name in ranks]
    score_points: list[Point] = [
        {name: float(column[index]) for name, column in ranks.items()}
        for index in range(len(points))
    ]
    both: list[Point] = [{**a, **b} for a, b in zip(points, score_points, strict=True)]
    encodings: list[tuple[list[Parameter], Sequence[Point]]] = [([*parameters], points)]
    if scores:
        encodings += [(score_parameters, score_points), ([*parameters, *score_parameters], both)]
    targets = rank_fractions(truth[known]).tolist()
    predictions = []
    for inputs, encoded in encodings:
        examples = [point for point, is_known in zip(encoded, known, strict=True) if is_known]
        for kind in _MODELS:
            model = Surrogate(Parameters(inputs), examples, targets, kind=kind, seed=seed)
            predictions.append(model.predict(encoded))
    members = np.stack(predictions)
    return members.mean(0), members.std(0)
