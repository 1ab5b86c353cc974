"""Advice of a dry run: what fits the budget, and what can be made smaller."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from darts.config import compose
from darts.training.budget import Advisor, find_levers
from darts.training.dry_run import CostEstimate

ESTIMATE = CostEstimate(
    steps=1000,
    epochs=50,
    seconds_per_step=7.2,
    base_memory_mb=1000.0,
    peak_memory_mb=5000.0,
    checkups_memory_mb=0.0,
    seconds=7200.0,
    finish_seconds=0.0,
    joules=1.0,
    joules_source="rapl",
    gco2e=1.0,
)


def changed(**values: float) -> CostEstimate:
    return dataclasses.replace(ESTIMATE, **values)


def advisor(**values: Any) -> Advisor:
    options = {"batch_size": 64, "lr": 0.1, "adam": False, "epochs": 50, "levers": {}}
    return Advisor(**(options | values))


def test_a_run_within_its_budget_needs_no_advice() -> None:
    own = advisor(levers={"memory=checkpoint": "less"})
    assert own.advice(ESTIMATE, hours=None, memory_mb=None) == []
    assert own.advice(ESTIMATE, hours=2.0, memory_mb=5000.0) == []


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
def test_no_batch_is_advised_that_is_too_small(memory: float) -> None:
    (line,) = advisor().advice(ESTIMATE, hours=None, memory_mb=memory)
    assert line.endswith("no smaller batch fits, because 1,000 MB are used before the first step")


def test_as_many_epochs_are_advised_as_fit() -> None:
    own = advisor(levers={"memory=checkpoint": "less"})
    assert own.advice(ESTIMATE, hours=0.5, memory_mb=None) == [
        "time: the estimate of 2 hours exceeds budget.hours=0.5; set epochs=12",
        "or memory=checkpoint: less",
    ]
    (line,) = advisor().advice(ESTIMATE, hours=0.01, memory_mb=None)
    assert line.endswith("not even one epoch fits: reduce dataset.subset")


def test_fewer_epochs_do_not_shorten_the_discretization() -> None:
    """Half an hour remains for epochs of which fifty take an hour."""
    estimate = changed(finish_seconds=3600.0)
    (line,) = advisor().advice(estimate, hours=1.5, memory_mb=None)
    assert line.endswith("set epochs=25")
    for hours in (0.5, 1.0):
        (line,) = advisor().advice(estimate, hours=hours, memory_mb=None)
        assert "not even one epoch fits in addition to the discretization, which takes 1 h" in line


def test_levers_are_overrides_that_make_the_run_cheaper() -> None:
    def levers(*overrides: str, device: str = "cpu", command: str = "search") -> set[str]:
        return set(find_levers(compose(command, overrides), device, ESTIMATE))

    assert levers() == {"memory=checkpoint", "relaxation.partial=4"}
    assert levers("memory=checkpoint", "method=pc_darts") == set()
    assert levers("space=macro") == {"memory=checkpoint"}
    assert "bilevel=first_order" in levers("method=darts_v2")
    assert "precision=bf16" in levers(device="cuda")
    assert "precision=bf16" not in levers("precision=bf16", device="cuda")
    assert levers("genotype=DARTS_V2", command="retrain") == set()
    freed = changed(base_memory_mb=5001.0)
    assert find_levers(compose("retrain", ["genotype=DARTS_V2"]), "cpu", freed) == {}
    for lever in levers("method=darts_v2", device="cuda"):
        compose("search", ["method=darts_v2", lever])


def test_collapse_checks_that_set_the_peak_are_the_first_lever() -> None:
    """Recomputed cells are no lever then: they make a check need more memory."""

    def levers(checkups: float, *overrides: str) -> dict[str, str]:
        estimate = changed(checkups_memory_mb=checkups)
        return find_levers(compose("search", overrides), "cpu", estimate)

    assert "memory=checkpoint" in levers(100.0)
    assert "collapse.every=0" not in levers(100.0)
    found = levers(2000.0)
    assert found["collapse.every=0"].endswith("which need 2,000 MB more than a step")
    assert "memory=checkpoint" not in found
    # A stopping rule by curvature needs as much memory as the check.
    both = {"collapse.every=0", "memory=checkpoint"}
    assert not both & set(levers(2000.0, "stopping=curvature"))
