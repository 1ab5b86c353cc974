"""The length of a repeated training on training and validation data."""

from __future__ import annotations

from pathlib import Path

import pytest

from darts.finding.candidates import Candidate
from darts.finding.refit import repeated_epochs
from darts.finding.results import Result


@pytest.mark.parametrize(
    ("best", "epochs"), [(20, 20), (13, 13), (10, 10), (3, 10), (None, 20)]
)  # fmt: skip
def test_it_is_that_of_the_best_epoch_but_at_least_half(best: int | None, epochs: int) -> None:
    candidate = Candidate("net", "family", "genotype", "baseline")
    summary = {} if best is None else {"epoch": best}
    assert repeated_epochs(Result(candidate, 20, Path(), summary, 0.5)) == epochs
    assert repeated_epochs(Result(candidate, 19, Path(), {"epoch": 1}, 0.5)) == 10
