"""The plan of a study: its parameters, and overrides of trials."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest
from fake_runs import SHORT, planned
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from darts.config import ConfigError, RetrainConfig, compose
from darts.hpo.search_space import SearchSpace
from darts.hpo.study import best_trial, fixed_overrides
from darts.hpo.trials import SCORES
from darts.spaces.parameters import Choice, Range

WHOLE: dict[str, Any] = {
    "optimizer": {"lr": {"low": 0.003, "high": 0.3, "log": True}, "clip": {"low": 1, "high": 5}},
    "loader.batch_size": [16, 32],
    "average_power": {"low": 1.5, "high": 8.5, "when": {"selection": "last"}},
    "selection": ["best", "last"],
    "drop_path": {"low": 0.0, "high": 0.4, "step": 0.1},
    "dataset": {"size": {"choices": [None, 8, 12]}},
    "genotype": {"space": "cnn", "candidates": "s2"},
}


def test_descriptions_become_domains() -> None:
    space = SearchSpace(WHOLE)
    by_name = {name: p.domain for name, p in space.parameters.by_name.items()}
    assert by_name["optimizer.lr"] == Range(0.003, 0.3, log=True)
    assert by_name["optimizer.clip"] == Range(1, 5, integer=True)
    assert by_name["loader.batch_size"] == Choice((16, 32))
    assert by_name["drop_path"] == Range(0.0, 0.4, step=0.1)
    assert by_name["dataset.size"] == Choice((None, 8, 12))
    names = list(by_name)
    assert names.index("selection") < names.index("average_power")  # parents come first
    assert by_name["genotype.normal.2"] == Choice(("0+1",))
    groups = space.groups()
    assert len(groups["hyperparameters"]) == 7
    assert len(groups["architecture"]) == len(names) - 7


def test_points_become_configurations() -> None:
    """Hydra reads each override as the value of the point, of every type."""
    space = SearchSpace(WHOLE)
    draw = Random(0)
    for _ in range(8):
        point = space.parameters.draw(draw)
        config: RetrainConfig = compose("retrain", space.overrides(point))
        assert config.optimizer.lr == pytest.approx(point["optimizer.lr"], rel=1e-12)
        assert config.optimizer.clip == point["optimizer.clip"]
        assert config.loader.batch_size == point["loader.batch_size"]
        assert config.selection == point["selection"]
        assert config.average_power == point.get("average_power", 0.0)
        assert config.dataset.size == point["dataset.size"]
        assert config.genotype == str(space.genotype(point))
        assert config.space.name == "cnn"
        assert space.row(point)["genotype"] == config.genotype


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-05, "1e-05"), (None, "null"), ("true", "'true'"), ("it's", "'it\\'s'"), ("1", "'1'")],
)
def test_hydra_reads_each_override_as_the_value(value: Any, text: str) -> None:
    space = SearchSpace({"name": [value, "other"]})
    assert space.overrides({"name": value}) == [f"name={text}"]
    if isinstance(value, str):
        assert compose("retrain", ["genotype=DARTS_V2", f"name={text}"]).name == value


def test_extremes_cover_every_choice_and_bound_once() -> None:
    space = SearchSpace({name: WHOLE[name] for name in ("average_power", "selection", "genotype")})
    shown = [(name, point.get(name)) for name, point in space.extremes()]
    assert [pair for pair in shown if not pair[0].startswith("genotype.")] == [
        ("selection", "best"),
        ("selection", "last"),
        ("average_power", 1.5),
        ("average_power", 8.5),
    ]
    assert sum(name.startswith("genotype.") for name, _ in shown) == 1
    assert all(space.parameters.contains(point) for _, point in space.extremes())


@pytest.mark.parametrize(
    ("described", "match"),
    [
        ({}, "parameters is empty; name the keys to vary"),
        ({"epochs": 5}, "parameters.epochs=5: must be a list of choices"),
        ({"epochs": []}, "parameters.epochs: a choice needs at least one value"),
        ({"epochs": {"low": 3}}, "parameters.epochs: high is missing"),
        ({"epochs": {"low": 5, "high": 3}}, "parameters.epochs: low=5 must be <= high=3"),
        ({"epochs": {"low": 3, "high": 5, "lgo": True}}, "key='lgo' is unknown; .* mean 'low'"),
        ({"epochs": {"choices": 3}}, "choices: Expected array, got int"),
        ({"epochs": {"choices": [3], "low": 1}}, "choices cannot be combined with low, high"),
        ({"epochs": {"choices": [1, 1]}}, r"\[1, 1\] repeats a value"),
        (
            {"epochs": {"choices": [1], "when": {"selection": "best"}}},
            "epochs depends on selection, which is not an earlier parameter",
        ),
        (
            {"a": {"choices": [1], "when": {"b": 1}}, "b": {"choices": [1], "when": {"a": 1}}},
            "depends on itself",
        ),
        ({"genotype": {"low": 1}}, "parameters.genotype must name a space, for example"),
        ({"genotype": {"space": "rnn2"}}, "parameters.genotype.space='rnn2' is unknown"),
        ({"genotype": {"space": "cnn", "cell": 1}}, "key='cell' is unknown; .* mean 'cells'"),
        ({"genotype": {"space": "cnn", "candidates": "s9"}}, "candidates='s9' is unknown"),
    ],
)
def test_an_invalid_description_raises_one_line(described: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        SearchSpace(described)
    assert "\n" not in str(caught.value)


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
    base = "base=['dataset=digits','evaluate_test=true','metric=loss']"
    config = compose("tune", [base, "epochs=2", "seed=5"])
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


def test_trials_within_the_limits_precede_better_trials(tmp_path: Path) -> None:
    plan = planned(tmp_path, *SHORT, "limit.macs=100", "limit.joules=10")
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


def test_a_study_with_another_objective_or_space_is_refused(tmp_path: Path) -> None:
    planned(tmp_path, *SHORT).open()
    planned(tmp_path, *SHORT, "dataset.root=/elsewhere", "workers=7", "strategy=random").open()
    for override, difference in [
        ("metric=loss", "objectives"),
        ("costs=[flops]", "objectives"),
        ("parameters.epochs=[1,2]", "parameters"),
        ("loader.batch_size=4", "overrides"),
    ]:
        own = [override, *(["strategy=random"] if "costs" in override else [])]
        message = f"has different {difference}; choose another"
        with pytest.raises((ConfigError, ValueError), match=message):
            planned(tmp_path, *SHORT, *own).open()
