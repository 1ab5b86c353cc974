"""The greedy selection of an ensemble, compared with a slow and obvious implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from darts.recipes.ensemble import greedy_selection

Score = Callable[[Tensor], float]


def selected(predictions: Tensor, score: Score, rounds: int) -> list[int]:
    """Return the selection for a score of the mean of predictions ``(networks, samples, K)``."""

    def of_counts(counts: Sequence[int]) -> float:
        weights = torch.tensor(counts, dtype=predictions.dtype) / sum(counts)
        used = weights > 0  # also if another prediction is not a number
        return score((weights[used].view(-1, 1, 1) * predictions[used]).sum(0))

    return greedy_selection(len(predictions), of_counts, rounds=rounds)


def obvious_selection(predictions: Tensor, score: Score, rounds: int) -> list[int]:
    """Score the mean of every list of networks that extends the current one by one network."""

    def mean_score(names: list[int]) -> float:
        return score(torch.stack([predictions[name] for name in names]).mean(0))

    chosen: list[int] = []
    while len(chosen) < rounds:
        options = [[*chosen, name] for name in range(len(predictions))]
        found = min(options, key=lambda option: (-mean_score(option), len(set(option)), option[-1]))
        if chosen and mean_score(found) <= mean_score(chosen):
            break
        chosen = found
    return [chosen.count(name) for name in range(len(predictions))]


def accuracy_for(classes: Tensor) -> Score:
    return lambda mean: float((mean.argmax(-1) == classes).double().mean())


def negative_loss_for(classes: Tensor) -> Score:
    rows = torch.arange(len(classes))
    return lambda mean: float(mean[rows, classes].log().mean())


@pytest.mark.parametrize("make_score", [accuracy_for, negative_loss_for])
@pytest.mark.parametrize("seed", range(8))
def test_it_chooses_like_the_obvious_implementation(
    make_score: Callable[[Tensor], Score], seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 3, (30,), generator=draw)
    logits = torch.randn(6, 30, 3, generator=draw, dtype=torch.float64)
    logits[..., 0] += 2 * (classes == 0)
    predictions = logits.softmax(-1)
    for rounds in (1, 5, 12):
        expected = obvious_selection(predictions, make_score(classes), rounds)
        found = selected(predictions, make_score(classes), rounds)
        assert found == expected
        assert 1 <= sum(found) <= rounds


def test_equal_scores_keep_the_smaller_ensemble() -> None:
    same = torch.full((3, 4, 2), 0.5)
    assert selected(same, lambda mean: 1.0, 10) == [1, 0, 0]


def test_a_score_that_is_not_a_number_is_the_worst() -> None:
    predictions = torch.tensor([[[torch.nan]], [[1.0]], [[2.0]]])
    assert selected(predictions, lambda mean: float(mean.sum()), 5) == [0, 0, 1]
    never = selected(predictions, lambda mean: torch.nan, 5)
    assert never == [1, 0, 0]
