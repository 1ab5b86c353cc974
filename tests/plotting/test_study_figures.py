"""Figures of studies and of compared methods, and Pareto fronts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure

from darts.judging.factorial import factorial_effects
from darts.judging.parameter_importance import ParameterImportances
from darts.judging.pareto import pareto_front
from darts.judging.statistics import bootstrap
from darts.plotting.figures import draw_front, draw_scores
from darts.plotting.study_figures import draw_factorial, draw_history, save_study_figures
from darts.spaces.parameters import Choice, Parameter, Parameters, Range
from darts.strategies.strategy import suggest_point

SPACE = Parameters(
    [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("rate", Range(1e-3, 1.0, log=True)),
        Parameter("momentum", Range(0.0, 0.9), (("kind", ("sgd",)),)),
    ]
)


def make_study(objectives: int = 1, sampler: Any = None) -> optuna.Study:
    """Return a study of 40 trials whose loss depends only on the rate; one of them is pruned."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)

    def objective(trial: optuna.Trial) -> list[float]:
        point = suggest_point(trial, SPACE)
        if trial.number == 5:
            raise optuna.TrialPruned
        loss = (math.log10(float(str(point["rate"]))) + 1) ** 2
        return [loss, *[float(trial.number + 1)] * (objectives - 1)]

    study.optimize(objective, n_trials=40)
    return study


def importances_of(study: optuna.Study, seed: int = 0) -> ParameterImportances:
    return ParameterImportances(SPACE, [trial for trial in study.trials if trial.values], seed)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


# Importances


@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
def test_the_parameter_that_matters_has_the_largest_importance(sampler: Any) -> None:
    """Also if it is logarithmic, and if all later trials agree on it."""
    found = importances_of(make_study(sampler=sampler(seed=0))).by_name
    assert next(iter(found)) == "rate"
    assert found["rate"] > 0.7
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == {"rate", "kind", "momentum"}  # including the conditional parameter


def test_equal_seeds_give_equal_importances() -> None:
    one, again, other = (importances_of(make_study(), seed).by_name for seed in (1, 1, 2))
    assert one == again != other


# Figures


def test_history_of_one_objective_shows_the_best_score_so_far() -> None:
    study = make_study()
    axes: Any = draw_history(study, "loss").axes[0]
    numbers = [trial.number for trial in study.trials if trial.values]
    assert axes.collections[0].get_offsets()[:, 0].tolist() == numbers
    assert axes.get_lines()[0].get_ydata()[-1] == study.best_value
    assert axes.get_ylabel() == "loss"
    assert not draw_history(make_study(objectives=2), "loss").axes[0].get_lines()


def test_figures_of_optuna_do_not_change_the_style_of_others() -> None:
    before = dict(mpl.rcParams)
    draw_history(make_study(), "loss")
    assert {name for name in before if mpl.rcParams[name] != before[name]} <= {"backend"}


# Pareto fronts


@pytest.mark.parametrize("directions", [(True,), (True, False), (False, False, True)])
def test_pareto_front_contains_the_rows_that_no_other_beats(directions: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(len(directions))
    names = [f"score{i}" for i in range(len(directions))]
    # Few values, so that there are ties in one objective and in all.
    rows = [
        dict(zip(names, rng.integers(0, 6, len(names)).tolist(), strict=True)) for _ in range(80)
    ]

    def beats(one: dict[str, int], other: dict[str, int]) -> bool:
        pairs = [
            (one[n], other[n]) if higher else (-one[n], -other[n])
            for n, higher in zip(names, directions, strict=True)
        ]
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    expected = [i for i, row in enumerate(rows) if not any(beats(other, row) for other in rows)]
    assert pareto_front(rows, dict(zip(names, directions, strict=True))) == expected
    assert len(expected) < 80


def test_rows_without_a_finite_number_per_objective_are_not_on_the_front() -> None:
    rows: list[dict[str, Any]] = [{"a": 1.0}, {"a": math.nan, "b": 0}, {"a": 0.5, "b": 1}, {}]
    assert pareto_front(rows, {"a": True, "b": False}) == [2]
    assert pareto_front([], {"a": True}) == []


def test_front_labels_its_points() -> None:
    rows: list[dict[str, Any]] = [
        {"point": 1, "accuracy": 0.8, "macs": 10, "on_front": True},
        {"point": 2, "accuracy": 0.7, "macs": 50, "on_front": False},
        {"point": 3, "accuracy": 0.9, "macs": 100, "on_front": True},
    ]
    figure = draw_front(rows, "accuracy", "macs")
    axes: Any = figure.axes[0]
    offsets = [dots.get_offsets().tolist() for dots in axes.collections]
    assert offsets == [[[10, 0.8], [100, 0.9]], [[50, 0.7]]]
    assert [text.get_text() for text in axes.texts] == ["1", "3", "2"]
    assert legend(figure) == ["Pareto front", "dominated"]
    assert legend(draw_front(rows[:1], "accuracy", "macs")) == ["Pareto front"]


# Factorial design and compared methods


def test_factorial_shows_means_intervals_and_gains() -> None:
    scores = {
        ("default", "default"): {1: 1.0, 2: 2.0, 3: 3.0},
        ("best", "default"): {1: 2.0, 2: 3.0, 3: 4.5},
        ("default", "best"): {1: 1.0, 2: 2.5, 3: 3.0},
        ("best", "best"): {1: 4.0, 2: 5.0, 3: 7.0},
    }
    design = factorial_effects(scores)
    figure = draw_factorial(design, ylabel="accuracy")
    axes: Any = figure.axes[0]
    default, best = axes.containers
    assert default.lines[0].get_ydata().tolist() == pytest.approx([2, 9.5 / 3])
    assert best.lines[0].get_ydata().tolist() == pytest.approx([6.5 / 3, 16 / 3])
    ends = default.lines[2][0].get_segments()[0][:, 1]
    corner = design.scores["default_default"]
    assert ends.tolist() == pytest.approx([corner.low, corner.high])
    assert legend(figure) == ["default hyperparameters", "best hyperparameters"]
    words = figure.get_supxlabel()
    assert all(name in words for name in ("architecture: +1.17", "both: +3.33", "interaction"))


def test_factorial_may_lack_one_factor() -> None:
    one = factorial_effects({("default", "default"): {1: 1.0}, ("default", "best"): {1: 2.0}})
    figure = draw_factorial(one)
    axes: Any = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["default architecture"]
    assert figure.get_supxlabel() == "gain of hyperparameters: +1 (1 seed)"
    other = factorial_effects(
        {("default", "default"): {1: 1.0, 2: 2.0}, ("best", "default"): {1: 2.0, 2: 3.0}}
    )
    assert legend(draw_factorial(other)) == ["default hyperparameters"]


def test_each_score_of_a_method_is_a_point_and_a_known_interval_is_a_bar() -> None:
    scores = {"a": [[0.1, 0.2], [0.3, 0.5], [0.2, 0.2], [0.4, 0.3]], "b": [[0.6], [0.7]]}
    intervals = {name: bootstrap(searches) for name, searches in scores.items()}
    axes: Any = draw_scores(scores, intervals, label="test accuracy").axes[0]
    points = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
    assert [list(map(float, point)) for point in points] == [*scores["a"], *scores["b"]]
    means = [float(line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "D"]
    assert means == [intervals["a"].mean, intervals["b"].mean]
    (bar,) = [line for line in axes.lines if str(line.get_gid()).startswith("interval-")]
    np.testing.assert_allclose(bar.get_ydata(), [intervals["a"].low, intervals["a"].high])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b"]


# Files


@pytest.mark.slow
def test_equal_studies_give_equal_files(tmp_path: Path) -> None:
    study = make_study(objectives=2)
    effects = factorial_effects(
        {("default", "default"): {1: 1.0, 2: 2.0}, ("best", "best"): {1: 2.0, 2: 3.0}}
    )
    importances = importances_of(study)
    options: dict[str, Any] = {"importances": importances, "effects": effects, "title": "the study"}
    for folder in ("one", "two"):
        save_study_figures(tmp_path / folder, study, ["loss", "macs"], **options)
    paths = list((tmp_path / "two").iterdir())
    names = ["history", "front_macs", "importances", "marginals", "factorial"]
    assert {path.name for path in paths} == {f"{name}.svg" for name in names}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "the study" in text
        assert text == (tmp_path / "one" / path.name).read_text(encoding="utf-8")
