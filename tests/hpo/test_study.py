"""The plan of a study: overrides of trials, the best trial, and studies that do not match."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from darts.config import ConfigError, compose
from darts.hpo.result_files import best_overrides, trial_rows
from darts.hpo.study import StudyPlan, best_trial, fixed_overrides
from darts.hpo.trials import FAILURE, SCORES, failure_reason, trial_state
from darts.recipes.commands import merge_overrides
from darts.tracking.metrics import write_table

# These tests act as a worker, without its heartbeat thread.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")


def trial(number: int, value: float | None, **attributes: Any) -> Any:
    """Return a finished trial, which is complete if it has a value."""
    made = optuna.create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params={"optimizer.lr": 0.02},
        distributions={"optimizer.lr": FloatDistribution(0.01, 0.1, log=True)},
        user_attrs=attributes,
    )
    made.number = number
    return made


def test_the_last_override_of_a_key_wins() -> None:
    given = ["space=cnn", "epochs=3", "+space.cells=2", "space=nas201", "space.cells=4", "++a.b=1"]
    assert merge_overrides(given) == ["space=nas201", "epochs=3", "space.cells=4", "++a.b=1"]
    assert merge_overrides(["genotype='a=b'", "genotype='c=d'"]) == ["genotype='c=d'"]


def test_trials_get_seed_and_metric_and_never_the_test_split() -> None:
    config = compose(
        "tune", ["base=['dataset=digits','evaluate_test=true','metric=loss']", "epochs=2", "seed=5"]
    )
    fixed = fixed_overrides(config)
    assert set(fixed) == {
        "dataset=digits",
        "epochs=2",
        "seed=5",
        "metric=accuracy",
        "evaluate_test=false",
        "tracking.tensorboard=false",
        "tracking.figures=false",
        "restarts=0",
    }
    config = compose("tune", ["base=['seed=3']"])  # a seed in base applies to all trials
    assert "seed=3" in fixed_overrides(config)
    assert "seed=0" not in fixed_overrides(config)
    searches = fixed_overrides(compose("tune", ["target=search"]))
    assert not any(o.startswith("evaluate_test=") for o in searches)
    assert {"arch_optimizer.raises=0", "restarts=0"} <= set(searches)


def test_best_overrides_drop_the_restrictions_of_trials(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    plan = planned(*short)
    assert "evaluate_test=false" in plan.fixed_overrides
    overrides = best_overrides(plan, trial(0, 0.5))
    assert "optimizer.lr=0.02" in overrides
    assert not [o for o in overrides if o.startswith(("evaluate_test=", "tracking."))]
    assert [o for o in overrides if o.startswith("metric=")] == ["metric=accuracy"]


def test_trials_within_the_limits_precede_better_trials(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    plan = planned(*short, "limit.macs=100", "limit.joules=10")
    cheap = {SCORES: {"macs": 100, "joules": 10}}
    expensive = {SCORES: {"macs": 99, "joules": 11}}
    incomplete = {SCORES: {"macs": 1}}
    trials = [trial(0, 0.9, **expensive), trial(1, 0.5, **cheap), trial(2, 0.6, **cheap)]
    trials += [trial(3, 0.99, **incomplete), trial(4, None, **cheap)]
    best = best_trial(plan, trials)
    assert best is not None
    assert best.number == 2
    best = best_trial(plan, [trials[0], trials[4]])  # none is within the limits
    assert best is not None
    assert best.number == 0
    assert best_trial(plan, [trials[4]]) is None


def test_the_best_is_the_first_of_ties_and_the_lowest_loss(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    best = best_trial(planned(*short), [trial(0, 0.5), trial(1, 0.5), trial(2, 0.4)])
    assert best is not None
    assert best.number == 0
    best = best_trial(planned(*short, "metric=loss"), [trial(0, 0.5), trial(1, 0.3), trial(2, 0.3)])
    assert best is not None
    assert best.number == 1


def test_a_study_with_another_objective_or_space_is_refused(
    planned: Callable[..., StudyPlan], short: list[str]
) -> None:
    planned(*short).open()
    planned(*short, "dataset.root=/elsewhere", "workers=7", "strategy=random").open()
    for override, difference in [
        ("metric=loss", "objectives"),
        ("costs=[flops]", "objectives"),
        ("parameters.epochs=[1,2]", "parameters"),
        ("loader.batch_size=4", "overrides"),
    ]:
        with pytest.raises(
            (ConfigError, ValueError), match=f"has different {difference}; choose another"
        ):
            planned(*short, override, *(["strategy=random"] if "costs" in override else [])).open()


def test_rows_include_failed_trials(
    planned: Callable[..., StudyPlan], short: list[str], tmp_path: Any
) -> None:
    plan = planned(*short)
    failed = trial(1, None, **{FAILURE: "out of memory: all, of it"})
    rows = trial_rows(plan, [trial(0, 0.5, **{SCORES: {"valid_accuracy": 0.5, "macs": 7}}), failed])
    assert [row["state"] for row in rows] == ["complete", "failed"]
    assert (rows[0]["macs"], rows[0]["optimizer.lr"], rows[0]["failure"]) == (7, 0.02, None)
    assert rows[1]["failure"] == "out of memory: all, of it"
    write_table(tmp_path / "trials.csv", rows)
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0] == "trial,state,valid_accuracy,macs,wall_seconds,optimizer.lr,failure"
    assert lines[1].startswith("0,complete,0.5,7,")
    assert lines[2].startswith("1,failed,,,")
    assert lines[2].endswith(',0.02,"out of memory: all, of it"')
    assert trial_state(failed) == "failed"
    assert failure_reason(trial(2, None)) == "its worker sends no heartbeats"
