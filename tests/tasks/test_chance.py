"""Chance levels: scores that need no input."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from darts.tasks.chance import CHANCE, guessed_class, guessed_tokens


@pytest.mark.parametrize("counts", [(1, 1), (3, 2, 1), (7, 3)])
def test_the_limit_equals_that_of_all_outcomes(counts: tuple[int, ...]) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    trials, share = len(labels), max(counts) / sum(counts)
    weights = {1: share, 0: 1 - share}

    def tail(k: int) -> float:
        outcomes = product((0, 1), repeat=trials)
        return math.fsum(math.prod(weights[x] for x in one) for one in outcomes if sum(one) >= k)

    limit = round(guessed_class(labels).limit * trials)
    assert tail(limit) > CHANCE
    assert limit == trials or tail(limit + 1) <= CHANCE


def test_an_accuracy_must_beat_a_lucky_guess_of_the_most_frequent_class() -> None:
    chance = guessed_class(torch.arange(1000) % 10)
    assert chance.metric == "accuracy"
    assert 0.1 < chance.limit < 0.13
    assert all(map(chance.explains, (0.0, 0.1, chance.limit, math.nan)))
    assert not chance.explains(chance.limit + 0.001)
    unbalanced = guessed_class(torch.tensor([0] * 900 + [1] * 100))
    assert unbalanced.explains(0.91)
    assert not unbalanced.explains(0.95)


def test_one_class_says_nothing() -> None:
    assert guessed_class(torch.zeros(5, dtype=torch.int64)).explains(1.0)


def test_a_loss_must_be_below_the_entropy_of_the_tokens() -> None:
    chance = guessed_tokens(torch.tensor([7, 7, 3, 3]))
    assert chance.metric == "loss"
    assert chance.limit == pytest.approx(math.log(2))
    assert chance.explains(chance.limit)
    assert chance.explains(math.inf)
    assert not chance.explains(0.69)
