"""Alphas and weights after several steps on two ranks equal those of one process, in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from several_ranks import on_ranks
from tiny_search import make_batch, make_searcher
from torch import Tensor

from darts.data import rank_slice

BATCH = 7  # four samples on the first rank, three on the second
TOLERANCE = 1e-9
# Overrides and number of steps.
SEARCHES: dict[str, tuple[tuple[str, ...], int]] = {
    "first order": (("method=darts_v1",), 20),
    "second order": (("method=darts_v2",), 6),
}


def states_of(name: str) -> dict[str, Tensor]:
    """Return weights, statistics and alphas before the first step and after the last one."""
    overrides, steps = SEARCHES[name]
    searcher = make_searcher("space.cells=2", "space.channels=2", *overrides)
    searcher.net.double()
    states = {f"before {key}": t.clone() for key, t in searcher.net.state_dict().items()}
    searcher.begin_epoch(0)
    own = rank_slice(BATCH, searcher.ranks.rank, searcher.ranks.size)
    for step in range(steps):
        train, valid = (
            (images[own].double(), labels[own])
            for images, labels in (make_batch(2 * step + part, BATCH) for part in range(2))
        )
        searcher.train_step(train, valid)
    return states | searcher.net.state_dict()


@pytest.mark.slow  # tests/training/test_distributed.py compares single steps
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_on_two_ranks_equals_one_process_in_float64(tmp_path: Path, name: str) -> None:
    expected = states_of(name)
    for states in on_ranks(states_of, tmp_path, name):
        assert list(states) == list(expected)
        for key, value in expected.items():
            torch.testing.assert_close(states[key], value, rtol=TOLERANCE, atol=TOLERANCE, msg=key)
    # The steps moved alphas and weights by far more than the tolerance.
    for key in ("alphas.normal", "alphas.reduce", "classifier.weight"):
        assert float((expected[key] - expected[f"before {key}"]).abs().max()) > 1e-3
