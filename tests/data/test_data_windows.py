"""Windows of a text: their tokens, and the state between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.data import IGNORE_INDEX, WindowLoader

CPU = torch.device("cpu")


def windows(count: int, columns: int, length: int, *, shift: bool, seed: int = 0) -> WindowLoader:
    return WindowLoader(
        torch.arange(count),
        columns=columns,
        length=length,
        seed=seed,
        name="test",
        shift=shift,
        device=CPU,
    )


def pairs(found: Any) -> list[tuple[int, int]]:
    return [
        (int(token), int(target))
        for window in found
        for token, target in zip(window.tokens.flatten(), window.targets.flatten(), strict=True)
        if target != IGNORE_INDEX
    ]


@pytest.mark.parametrize("count", [2, 24, 25])
@pytest.mark.parametrize("columns", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 3, 7])
def test_evaluation_has_each_token_but_the_first_as_a_target_once(
    count: int, columns: int, length: int
) -> None:
    made = windows(count, columns, length, shift=False)
    found = list(made.epoch(0))
    assert len(found) == len(made)
    assert sorted(pairs(found)) == [(number, number + 1) for number in range(count - 1)]
    assert max(len(window.tokens) for window in found) <= length


def test_training_windows_are_consecutive_in_each_column() -> None:
    made = windows(100, 3, 5, shift=True)
    offsets = set()
    for epoch in range(12):
        found = list(made.epoch(epoch))
        assert len(found) == len(made) == (33 - 4) // 5
        whole = torch.cat([window.tokens for window in found])
        assert bool((whole[1:] == whole[:-1] + 1).all())
        assert all(bool((w.targets == w.tokens + 1).all()) for w in found)
        assert all(w.tokens.shape == (5, 3) for w in found)
        offsets.add(int(whole[0, 0]))
    assert offsets <= set(range(5))
    assert len(offsets) > 2  # epochs begin at different tokens


def test_a_window_starts_with_the_state_after_the_previous_one() -> None:
    made = windows(50, 2, 4, shift=False)
    found = made.epoch(0)
    first = next(found)
    assert first.carry.state is None
    first.carry.after = torch.ones(2, 3)
    second = next(found)
    assert torch.equal(second.carry.state, torch.ones(2, 3))
    assert second.carry.after is None
    second.carry.after = torch.full((2, 3), 2.0)
    assert next(made.epoch(1)).carry.state is None  # epochs start with zeros
    assert made.batch(0, 3).carry.state is None  # so does random access


def test_a_resumed_loader_restores_the_state() -> None:
    made = windows(90, 2, 4, shift=True)
    stream = made.epoch(0)
    next(stream).carry.after = torch.ones(2, 3)
    next(stream).carry.after = torch.full((2, 3), 5.0)
    again = windows(90, 2, 4, shift=True)
    again.load_state_dict(made.state_dict())
    window = next(again.epoch(0, 2))
    assert torch.equal(window.tokens, next(stream).tokens)
    assert torch.equal(window.carry.state, torch.full((2, 3), 5.0))


def test_a_text_that_is_too_short_is_refused() -> None:
    line = "20 tokens in 4 columns are too few for windows of 5; choose"
    with pytest.raises(ValueError, match=line):
        windows(20, 4, 5, shift=True)
