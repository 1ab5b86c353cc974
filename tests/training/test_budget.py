"""A dry run advises changes that fit the budget."""

from __future__ import annotations

from typing import Any

import pytest

from darts.config import compose
from darts.training.budget import Advisor, find_savings
from darts.training.dry_run import CostEstimate

ESTIMATE = CostEstimate(
    steps=1000,
    epochs=50,
    seconds_per_step=7.2,
    base_memory_mb=1000.0,
    peak_memory_mb=5000.0,
    seconds=7200.0,
    joules=1.0,
    joules_source="rapl",
    gco2e=1.0,
)


def advisor(**values: Any) -> Advisor:
    options = {"batch_size": 64, "lr": 0.1, "adam": False, "epochs": 50, "savings": {}}
    return Advisor(**(options | values))


def test_a_run_within_its_budget_needs_no_advice() -> None:
    with_saving = advisor(savings={"memory=checkpoint": "less"})
    assert with_saving.advice(ESTIMATE, hours=None, memory_mb=None) == []
    assert with_saving.advice(ESTIMATE, hours=2.0, memory_mb=5000.0) == []


def test_a_smaller_batch_has_a_smaller_learning_rate() -> None:
    """1,000 MB of the 4,000 that grow with the batch fit: a quarter of the batch."""
    (line,) = advisor().advice(ESTIMATE, hours=None, memory_mb=2000.0)
    assert line == (
        "memory: the estimate of 5,000 MB exceeds budget.memory_mb=2000; "
        "set loader.batch_size=16 optimizer.lr=0.025 (about 2,000 MB)"
    )
    (line,) = advisor(adam=True).advice(ESTIMATE, hours=None, memory_mb=2000.0)
    assert "loader.batch_size=16 optimizer.lr=0.05 " in line  # the root of a quarter


@pytest.mark.parametrize("memory", [900.0, 1000.0, 1400.0])
def test_no_batch_size_is_advised_if_none_fits(memory: float) -> None:
    (line,) = advisor().advice(ESTIMATE, hours=None, memory_mb=memory)
    assert line.endswith("no smaller batch fits, because 1,000 MB are used before the first step")


def test_the_largest_number_of_epochs_that_fits_is_advised() -> None:
    with_saving = advisor(savings={"memory=checkpoint": "less"})
    assert with_saving.advice(ESTIMATE, hours=0.5, memory_mb=None) == [
        "time: the estimate of 2 hours exceeds budget.hours=0.5; set epochs=12",
        "or memory=checkpoint: less",
    ]
    (line,) = advisor().advice(ESTIMATE, hours=0.01, memory_mb=None)
    assert line.endswith("not even one epoch fits: reduce dataset.subset")


def test_savings_are_valid_overrides_that_make_the_run_cheaper() -> None:
    def savings(*overrides: str, device: str = "cpu", command: str = "search") -> set[str]:
        return set(find_savings(compose(command, overrides), device))

    assert savings() == {"memory=checkpoint", "relaxation.partial=4"}
    assert savings("memory=checkpoint", "method=pc_darts") == set()
    assert savings("space=macro") == {"memory=checkpoint"}
    assert "bilevel=first_order" in savings("method=darts_v2")
    assert "precision=bf16" in savings(device="cuda")
    assert "precision=bf16" not in savings("precision=bf16", device="cuda")
    assert savings("genotype=DARTS_V2", command="retrain") == set()
    for override in savings("method=darts_v2", device="cuda"):
        compose("search", ["method=darts_v2", override])
