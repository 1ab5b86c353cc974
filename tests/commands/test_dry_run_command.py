"""Dry runs of the commands: their memory estimate, advice and budget."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest

from darts.recipes.search import Search
from darts.training.dry_run import CostEstimate, estimate_cost

CODE = (
    "import sys; from darts.recipes import search; from darts.config import launch;"
    "print(launch('search', search.check, search.search, sys.argv[1:])['peak_memory_mb'])"
)
LARGE = ("dataset=synthetic", "dataset.samples=256", "dataset.size=32", "epochs=1")


def peak_memory_mb(*overrides: str) -> float:
    """Return the peak memory of a search in a new process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, *overrides],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=500,
    )
    return float(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_dry_run_estimates_the_memory_of_the_run(tmp_path: Path) -> None:
    own = (*LARGE, "space=nas201", "space.cells=1", "method=darts_v2", "collapse.every=1")
    estimate = peak_memory_mb(*own, "dry_run=true", f"hydra.run.dir={tmp_path / 'dry'}")
    actual = peak_memory_mb(*own, f"hydra.run.dir={tmp_path / 'run'}")
    assert estimate == pytest.approx(actual, rel=0.2)


def test_a_dry_run_advises_changes_that_fit_the_budget() -> None:
    tight = ("dry_run=true", "budget.memory_mb=1", "budget.hours=1e-9")
    done = commands.run("search", None, *tight, "epochs=50", "collapse.every=0")
    memory, time, *savings = done.result["advice"]
    assert memory.startswith("memory: ")
    assert time.startswith("time: ")
    assert any(line.startswith("or memory=checkpoint: ") for line in savings)
    assert all(line in done.out for line in done.result["advice"])
    assert done.result["estimated_joules"] > 0
    for word in ("parameters", "macs", "peak_memory_mb", "estimated_time"):
        assert word in done.out
        assert word in done.result
    wide = ("dry_run=true", "budget.memory_mb=1e6", "budget.hours=1e6")
    done = commands.run("retrain", None, "genotype=DARTS_V2", *wide)
    assert done.result["advice"] == []
    assert "The run fits the budget." in done.out


SMALL = (
    *("dry_run=true", "dataset.samples=48", "loader.batch_size=8", "epochs=1"),
    *("space=nas201", "space.channels=4", "space.cells=1"),
)


@pytest.mark.parametrize(
    ("overrides", "missing"),
    [
        ((), []),
        (("epochs=5",), ["collapse checks"]),
        (("method=darts_es",), ["eigenvalues (stopping=curvature)"]),
        (("method=darts_pt",), ["discretize=perturbation"]),
        (("method=random_sharing", "epochs=5"), ["discretize=sampling"]),
    ],
)
def test_a_dry_run_names_what_it_does_not_count(
    overrides: tuple[str, ...], missing: list[str]
) -> None:
    """An incomplete estimate does not claim that the run fits the budget."""
    done = commands.run("search", None, *SMALL, "budget.hours=1e6", *overrides)
    assert done.result["not_counted"] == missing
    assert (f"not counted: {', '.join(missing)}" in done.out) == bool(missing)
    assert ("The counted part fits the budget." in done.out) == bool(missing)
    assert ("The run fits the budget." in done.out) != bool(missing)


def test_a_dry_run_measures_an_epoch_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds of epochs of a search differ in their stage and in whether the alphas learn."""
    counted = []

    def estimate(recipe: Search, epochs: dict[int, int], **options: Any) -> CostEstimate:
        counted.append(epochs)
        return estimate_cost(recipe, epochs, **options)

    monkeypatch.setattr("darts.recipes.search.estimate_cost", estimate)
    for overrides in ((), ("method=pc_darts",), ("method=drnas", "arch_optimizer.warmup=0.4")):
        commands.run("search", None, *SMALL, "epochs=10", *overrides)
    assert counted == [{0: 10}, {0: 3, 3: 7}, {0: 2, 2: 3, 5: 2, 7: 3}]
