"""Advice of a plan: what fits, and what is left to be made smaller."""

from __future__ import annotations

from typing import Any

import pytest

from darts.config import compose
from darts.training.planner import Plan, levers_of

TOLD = {
    "peak_memory_mb": 5000.0,
    "base_memory_mb": 1000.0,
    "estimated_seconds": 7200.0,
    "finish_seconds": 0.0,
}


def plan(**given: Any) -> Plan:
    return Plan(
        **({"batch_size": 64, "lr": 0.1, "adam": False, "epochs": 50, "levers": {}} | given)
    )


def test_what_keeps_to_its_budget_needs_no_advice() -> None:
    own = plan(levers={"memory=checkpoint": "less"})
    assert own.advice(TOLD, hours=None, memory_mb=None) == []
    assert own.advice(TOLD, hours=2.0, memory_mb=5000.0) == []


def test_a_smaller_batch_has_a_smaller_learning_rate() -> None:
    """A quarter of what grows with the batch is what fits: 1,000 of 4,000 MB."""
    (line,) = plan().advice(TOLD, hours=None, memory_mb=2000.0)
    assert line == (
        "memory: 5,000 MB are more than budget.memory_mb=2000; "
        "set loader.batch_size=16 optimizer.lr=0.025 (about 2,000 MB)"
    )
    (line,) = plan(adam=True).advice(TOLD, hours=None, memory_mb=2000.0)
    assert "loader.batch_size=16 optimizer.lr=0.05 " in line  # the root of a quarter


@pytest.mark.parametrize("memory", [900.0, 1000.0, 1400.0])
def test_no_batch_may_be_small_enough(memory: float) -> None:
    (line,) = plan().advice(TOLD, hours=None, memory_mb=memory)
    assert line.endswith("no smaller batch fits, since 1,000 MB are needed before the first step")


def test_as_many_epochs_as_fit() -> None:
    lines = plan(levers={"memory=checkpoint": "less"}).advice(TOLD, hours=0.5, memory_mb=None)
    assert lines == [
        "time: 2 hours are more than budget.hours=0.5; set epochs=12",
        "or memory=checkpoint: less",
    ]
    (line,) = plan().advice(TOLD, hours=0.01, memory_mb=None)
    assert line.endswith("not one epoch fits: take less data")


def test_fewer_epochs_do_not_shorten_the_last_decision() -> None:
    """Half an hour is left for epochs of which fifty take an hour."""
    told = TOLD | {"finish_seconds": 3600.0}
    (line,) = plan().advice(told, hours=1.5, memory_mb=None)
    assert line.endswith("set epochs=25")
    for hours in (0.5, 1.0):
        (line,) = plan().advice(told, hours=hours, memory_mb=None)
        assert "not one epoch fits beside the decision on a genotype, which takes 1 of" in line


def test_levers_are_those_that_a_configuration_has_left() -> None:
    def levers(*given: str, device: str = "cpu", command: str = "search") -> set[str]:
        return set(levers_of(compose(command, given), device, TOLD))

    assert levers() == {"memory=checkpoint", "relaxation.partial=4"}
    assert levers("memory=checkpoint", "method=pc_darts") == set()
    assert levers("space=macro") == {"memory=checkpoint"}
    assert "bilevel=first_order" in levers("method=darts_v2")
    assert "precision=bf16" in levers(device="cuda")
    assert "precision=bf16" not in levers("precision=bf16", device="cuda")
    assert levers("genotype=DARTS_V2", command="retrain") == set()
    freed = TOLD | {"base_memory_mb": TOLD["peak_memory_mb"] + 1}
    assert levers_of(compose("retrain", ["genotype=DARTS_V2"]), "cpu", freed) == {}
    # All of them are overrides that the configuration takes.
    for lever in levers("method=darts_v2", device="cuda"):
        compose("search", ["method=darts_v2", lever])


def test_where_looks_set_the_peak_they_are_left_out_first() -> None:
    """And cells are not computed twice, which makes a look need more."""

    def levers(raised: float, *given: str) -> dict[str, str]:
        return levers_of(compose("search", given), "cpu", TOLD | {"looks_memory_mb": raised})

    assert "memory=checkpoint" in levers(100.0)
    assert "doctor.every=0" not in levers(100.0)
    found = levers(2000.0)
    assert found["doctor.every=0"] == "no looks, which need 2,000 MB more than a step"
    assert "memory=checkpoint" not in found
    # The rule that stops by the curvature needs as much, whoever looks.
    assert not {"doctor.every=0", "memory=checkpoint"} & set(levers(2000.0, "stopping=curvature"))
