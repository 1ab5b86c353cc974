"""The plan of a study: overrides of trials, the best trial, and studies that do not match."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from fake_runs import SHORT, Planned
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from darts.config import ConfigError, compose
from darts.hpo.study import best_trial, fixed_overrides
from darts.hpo.trials import SCORES

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


def test_trials_within_the_limits_precede_better_trials(planned: Planned) -> None:
    plan = planned(*SHORT, "limit.macs=100", "limit.joules=10")
    cheap = {SCORES: {"macs": 100, "joules": 10}}
    expensive = {SCORES: {"macs": 99, "joules": 11}}
    incomplete = {SCORES: {"macs": 1}}
    trials = [trial(0, 0.9, **expensive), trial(1, 0.5, **cheap), trial(2, 0.6, **cheap)]
    trials += [trial(3, 0.99, **incomplete), trial(4, None, **cheap)]
    best = best_trial(plan, trials)
    assert best.number == 2
    best = best_trial(plan, [trials[0], trials[4]])  # none is within the limits
    assert best.number == 0
    assert best_trial(plan, [trials[4]]) is None


def test_a_study_with_another_objective_or_space_is_refused(planned: Planned) -> None:
    planned(*SHORT).open()
    planned(*SHORT, "dataset.root=/elsewhere", "workers=7", "strategy=random").open()
    for override, difference in [
        ("metric=loss", "objectives"),
        ("costs=[flops]", "objectives"),
        ("parameters.epochs=[1,2]", "parameters"),
        ("loader.batch_size=4", "overrides"),
    ]:
        with pytest.raises(
            (ConfigError, ValueError), match=f"has different {difference}; choose another"
        ):
            planned(*SHORT, override, *(["strategy=random"] if "costs" in override else [])).open()
