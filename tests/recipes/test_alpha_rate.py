"""When a search raises the learning rate of its alphas."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from darts.config import compose
from darts.recipes.search import configured_callbacks
from darts.recipes.search_callbacks import (
    MIN_PREFERENCE,
    AlphaRate,
    is_check_due,
    strongest_preference,
)
from darts.searching.flaws import uniform_alphas


def slow_preference(probabilities: dict[str, Tensor]) -> float:
    """Return the largest ``best / second - 1`` with Python's sort, one edge at a time."""
    strengths = []
    for p in probabilities.values():
        for row in p.double().tolist():
            kept = sorted((value for value in row if value > 0), reverse=True)
            if len(kept) > 1:
                strengths.append(kept[0] / kept[1] - 1)
    return max(strengths, default=math.inf)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 2.0])
def test_the_clearest_edge_of_all_groups_counts(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = {
        "a": (scale * torch.randn(5, 4, generator=generator)).softmax(-1),
        "b": (scale * torch.randn(3, 6, generator=generator)).sigmoid(),
    }
    probabilities["a"][0, 1:] = 0  # one candidate is left, so this edge has no choice
    probabilities["a"][1, 2:] = 0
    expected = slow_preference(probabilities)
    assert strongest_preference(probabilities) == pytest.approx(expected, rel=1e-9)
    # Edge weights multiply all candidates of an edge.
    weighted = {group: p * torch.rand(len(p), 1) for group, p in probabilities.items()}
    assert strongest_preference(weighted) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def due_epochs(updated: list[int], first: int, length: int) -> list[int]:
    return [epoch for epoch in range(200) if is_check_due(epoch, updated, first, length)]


def test_checks_follow_each_tenth_of_the_updated_epochs_except_the_last() -> None:
    assert due_epochs(list(range(50)), 0, 50) == [4, 9, 14, 19, 24, 29, 34, 39, 44]
    assert due_epochs(list(range(15, 50)), 0, 50) == [18, 22, 26, 30, 34, 38, 42, 46]
    assert due_epochs(list(range(15)), 0, 15) == [1, 3, 5, 7, 9, 11, 13]
    assert due_epochs([0, 1], 0, 2) == [0]
    assert due_epochs([0], 0, 1) == []
    assert due_epochs([], 0, 50) == []


def test_checks_count_anew_in_a_stage_with_new_alphas() -> None:
    """Two stages of 30 epochs, each with 10 epochs of frozen alphas."""
    updated = [*range(10, 30), *range(40, 60)]
    assert due_epochs(updated, 0, 30) == [11, 13, 15, 17, 19, 21, 23, 25, 27]
    assert due_epochs(updated, 30, 30) == [41, 43, 45, 47, 49, 51, 53, 55, 57]


@pytest.mark.parametrize(
    ("override", "raises"),
    [
        (None, True),
        ("arch_optimizer.raises=0", False),
        ("method=random_sharing", False),
        ("relaxation=uniform", False),
    ],
)
def test_the_rate_is_never_raised_if_turned_off_or_without_alphas(
    override: str | None, raises: bool
) -> None:
    search: Any = SimpleNamespace(
        config=compose("search", ["dataset=synthetic", *([] if override is None else [override])]),
        state=SimpleNamespace(parts={}),
    )
    assert any(isinstance(part, AlphaRate) for part in configured_callbacks(search)) == raises


def test_a_weaker_preference_after_a_tenth_of_the_updates_ends_uniform() -> None:
    """Ten times the distance of the alphas gives an edge that counts as uniform."""
    alphas = torch.zeros(1, 8, dtype=torch.float64)
    alphas[0, 3] = math.log1p(MIN_PREFERENCE)
    assert strongest_preference({"a": alphas.softmax(-1)}) == pytest.approx(MIN_PREFERENCE)
    assert uniform_alphas({"a": (10 * alphas).softmax(-1)}) is not None
