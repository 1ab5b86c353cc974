"""What a plan says of trials: their command lines, the best of them, and another's study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from darts.config import ConfigError, compose
from darts.hpo.results import best_overrides, rows_of, state_of, write_trials
from darts.hpo.store import FAILURE
from darts.hpo.study import SCORES, Plan, best_of, failure_of, fixed_overrides, merged

# These tests play a worker's part by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")


def trial(number: int, value: float | None, **attributes: Any) -> Any:
    """A trial that has ended, completed if it has a value."""
    made = optuna.create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params={"optimizer.lr": 0.02},
        distributions={"optimizer.lr": FloatDistribution(0.01, 0.1, log=True)},
        user_attrs=attributes,
    )
    made.number = number
    return made


def test_of_two_overrides_of_a_key_the_last_counts() -> None:
    given = ["space=cnn", "epochs=3", "+space.cells=2", "space=nas201", "space.cells=4", "++a.b=1"]
    assert merged(given) == ["space=nas201", "epochs=3", "space.cells=4", "++a.b=1"]
    assert merged(["genotype='a=b'", "genotype='c=d'"]) == ["genotype='c=d'"]


def test_trials_have_the_studys_seed_and_metric_and_no_look_at_the_test_split() -> None:
    config = compose(
        "tune", ["base=['dataset=digits','test=true','metric=loss']", "epochs=2", "seed=5"]
    )
    fixed = fixed_overrides(config)
    assert set(fixed) == {
        *("dataset=digits", "epochs=2", "seed=5", "metric=accuracy", "test=false"),
        *("tracking.tensorboard=false", "tracking.pictures=false"),
    }
    config = compose("tune", ["base=['seed=3']"])  # one seed for all trials, as the experiment says
    assert "seed=3" in fixed_overrides(config)
    assert "seed=0" not in fixed_overrides(config)
    assert not any(
        o.startswith("test=") for o in fixed_overrides(compose("tune", ["target=search"]))
    )


def test_the_best_is_trained_with_its_test_and_pictures(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    plan = planned(*short)
    found = best_overrides(plan, trial(0, 0.5))
    assert "optimizer.lr=0.02" in found
    assert not [o for o in found if o.startswith(("test=", "tracking."))]
    assert [o for o in found if o.startswith("metric=")] == ["metric=accuracy"]


def test_the_best_keeps_to_the_limits_if_any_does(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    plan = planned(*short, "limits.flops=100", "limits.parameters=10")
    cheap = {SCORES: {"flops": 100, "parameters": 10}}
    dear = {SCORES: {"flops": 99, "parameters": 11}}
    silent = {SCORES: {"flops": 1}}
    trials = [trial(0, 0.9, **dear), trial(1, 0.5, **cheap), trial(2, 0.6, **cheap)]
    trials += [trial(3, 0.99, **silent), trial(4, None, **cheap)]
    best = best_of(plan, trials)
    assert best is not None
    assert best.number == 2
    best = best_of(plan, [trials[0], trials[4]])  # better than nothing
    assert best is not None
    assert best.number == 0
    assert best_of(plan, [trials[4]]) is None


def test_of_equals_the_first_is_the_best_and_of_losses_the_lowest(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    best = best_of(planned(*short), [trial(0, 0.5), trial(1, 0.5), trial(2, 0.4)])
    assert best is not None
    assert best.number == 0
    best = best_of(planned(*short, "metric=loss"), [trial(0, 0.5), trial(1, 0.3), trial(2, 0.3)])
    assert best is not None
    assert best.number == 1


def test_a_study_about_something_else_is_not_joined(
    planned: Callable[..., Plan], short: list[str]
) -> None:
    planned(*short).open()
    planned(*short, "dataset.root=/elsewhere", "workers=7", "strategy=random").open()
    for other, what in [
        ("metric=loss", "objectives"),
        ("costs=[flops]", "objectives"),
        ("parameters.epochs=[1,2]", "parameters"),
        ("loader.batch_size=4", "overrides"),
    ]:
        with pytest.raises((ConfigError, ValueError), match=f"has other {what}; choose another"):
            planned(*short, other, *(["strategy=random"] if "costs" in other else [])).open()


def test_rows_tell_of_what_failed_too(
    planned: Callable[..., Plan], short: list[str], tmp_path: Any
) -> None:
    plan = planned(*short)
    failed = trial(1, None, **{FAILURE: "out of memory: all, of it"})
    rows = rows_of(plan, [trial(0, 0.5, **{SCORES: {"valid_accuracy": 0.5, "macs": 7}}), failed])
    assert [row["state"] for row in rows] == ["complete", "failed"]
    assert (rows[0]["macs"], rows[0]["optimizer.lr"], rows[0]["failure"]) == (7, 0.02, None)
    assert rows[1]["failure"] == "out of memory: all, of it"
    write_trials(tmp_path / "trials.csv", rows)
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0] == "trial,state,valid_accuracy,macs,wall_seconds,optimizer.lr,failure"
    assert lines[1].startswith("0,complete,0.5,7,")
    assert lines[2].startswith("1,failed,,,")
    assert lines[2].endswith(',0.02,"out of memory: all, of it"')
    assert state_of(failed) == "failed"
    assert failure_of(trial(2, None)) == "its worker is gone"
