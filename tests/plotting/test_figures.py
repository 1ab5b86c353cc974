"""Figures of runs, of the race of ``darts.find``, of studies and of compared methods."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import optuna
import pytest
import torch
from matplotlib.colors import to_hex

from darts.judging.importances import ParameterImportances
from darts.judging.rankings import pareto_front
from darts.judging.statistics import bootstrap
from darts.plotting.figures import (
    draw_alpha_heatmap,
    draw_alpha_history,
    draw_confusion,
    draw_curves,
    draw_front,
    draw_scores,
    points_of,
)
from darts.plotting.race import draw_race, save_race
from darts.plotting.study_figures import draw_history, save_study_figures
from darts.plotting.style import HIGHLIGHT, MUTED, NOTE, PRIMARY
from darts.searching.alphas import GroupHistory
from darts.spaces.parameters import Choice, Parameter, Parameters, Range
from darts.strategies.strategy import suggest_point
from darts.tracking.race_log import Slice, read_race

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3")


def probabilities(seed: int = 0, edges: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(edges, len(OPERATIONS), generator=generator), dim=-1)


EDGES = ("0→2", "1→2", "0→3", "1→3", "2→3")


def group(*matrices: torch.Tensor) -> GroupHistory:
    """Return the probabilities of a group at the end of each epoch."""
    operations = [list(OPERATIONS)] * len(EDGES)
    epochs = [matrix.tolist() for matrix in matrices]
    return {"edges": list(EDGES), "operations": operations, "epochs": epochs}


def strings(texts: list[Any]) -> list[str]:
    return [text.get_text() for text in texts]


def test_heatmap_shows_names_and_numbers() -> None:
    p = probabilities()
    figure = draw_alpha_heatmap(group(probabilities(1), p), title="normal")
    axes: Any = figure.axes[0]
    assert strings(axes.get_xticklabels()) == list(OPERATIONS)
    assert strings(axes.get_yticklabels()) == list(EDGES)
    assert [text.get_text() for text in axes.texts] == [f"{v:.2f}" for v in p.flatten().tolist()]
    np.testing.assert_allclose(axes.images[0].get_array(), p.numpy(), rtol=1e-6)
    assert figure.get_suptitle() == "normal"


def test_uniform_probabilities_have_a_medium_color_in_the_heatmap() -> None:
    uniform = torch.full((5, 3), 1 / 3)
    figure = draw_alpha_heatmap(group(uniform))
    image: Any = figure.axes[0].images[0]
    np.testing.assert_allclose(image.norm(1 / 3), 0.5)


def test_history_has_one_panel_per_edge_and_one_line_per_operation() -> None:
    """The lines of chosen operations are thick."""
    history = [probabilities(seed) for seed in range(4)]
    figure = draw_alpha_history(group(*history), title="normal", chosen=[(0, 1), (1, 2)])
    panels: dict[str, Any] = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == list(EDGES)
    line = panels["1→3"].get_lines()[2]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [p[3, 2].item() for p in history], rtol=1e-6)
    (legend,) = figure.legends
    assert strings(legend.get_texts()) == list(OPERATIONS)
    widths = [[line.get_linewidth() for line in axes.get_lines()] for axes in panels.values()]
    assert [row.index(max(row)) for row in widths[:2]] == [1, 2]


def test_points_skip_rows_without_both_numbers() -> None:
    rows: list[dict[str, Any]] = [
        {"epoch": 1, "train_loss": 2.0, "valid_loss": None},
        {"epoch": 2, "train_loss": "x", "valid_loss": 0.75},
        {"train_loss": 0.5},
    ]
    assert points_of(rows, "train_loss") == [(1, 2.0)]
    assert points_of(rows, "valid_loss") == [(2, 0.75)]


def test_curves_have_a_legend_if_there_are_several_and_repeat_colors_with_other_dashes() -> None:
    figure = draw_curves({"loss": {f"run {n}": [(1, 0.5), (2, 1.0)] for n in range(9)}})
    (axes,) = figure.axes
    lines: list[Any] = list(axes.get_lines())
    assert lines[0].get_color() == lines[8].get_color() != lines[1].get_color()
    assert lines[0].get_linestyle() != lines[8].get_linestyle()
    legend: Any = axes.get_legend()
    assert strings(legend.get_texts()) == [f"run {n}" for n in range(9)]


def test_a_fraction_is_drawn_in_percent_and_a_single_point_as_a_dot() -> None:
    figure = draw_curves({"top5 accuracy": {"$valid$": [(3, 0.25)]}, "loss": {}}, title="two")
    axes: Any = figure.axes[0]
    (line,) = axes.get_lines()
    assert list(line.get_xydata()[0]) == [3, 25]
    assert line.get_marker() == "o"
    assert axes.get_title(loc="left") == "top5 accuracy, %"
    assert axes.get_legend() is None
    assert figure.get_suptitle() == "two"
    dotted = draw_curves({"loss": {"score": [(0, 1.0), (1, 2.0)]}}, dots=True)
    (dots,) = dotted.axes[0].get_lines()
    assert dots.get_linestyle() == "None"


@pytest.mark.parametrize("classes", [2, 30, 70])
def test_confusion_matrix_shows_percent_and_names_up_to_a_number_of_classes(classes: int) -> None:
    counts = torch.eye(classes) * 3
    counts[0, 1] = 1
    names = [f"class {n}" for n in range(classes)]
    figure = draw_confusion(counts, names, title="which")
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert shown[0, 0] == pytest.approx(75)
    assert shown[0, 1] == pytest.approx(25)
    written = [text.get_text() for text in axes.texts]
    assert written == (["75.0", "25.0", *["100"] * (classes - 1)] if classes <= 20 else [])
    ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert (ticks == names) == (classes <= 60)


Scores = dict[str, list[float | None]]


def race(scores: Scores, *, higher: bool = True) -> list[Slice]:
    """Return a race in which each candidate trains for a slice in each round."""
    slices: list[Slice] = []
    newest: dict[str, float] = {}
    for number in range(1, max(map(len, scores.values())) + 1):
        times: Any = {"time": number * 60.0, "seconds": number * 30.0, "epochs": number}
        for name, own in scores.items():
            if number > len(own):
                continue
            score = own[number - 1]
            newest[name] = -math.inf if score is None else score if higher else -score
            leader = max(newest, key=newest.__getitem__)
            slices.append(Slice(candidate=name, score=score, leader=leader, **times))
    return slices


def lines(figure: Any) -> dict[str, list[list[float]]]:
    """Return the points of the line of each candidate."""
    found = figure.axes[0].get_lines()
    return {line.get_label(): np.asarray(line.get_xydata()).round(6).tolist() for line in found}


def highlighted(figure: Any) -> list[str]:
    found = figure.axes[0].get_lines()
    return [x.get_label() for x in found if to_hex(x.get_color()) == HIGHLIGHT.lower()]


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


RACE: Scores = {"small": [0.6, 0.61], "found": [0.5, 0.7, 0.8], "large": [0.4]}


def test_winner_best_other_and_best_baseline_have_colors_and_labels() -> None:
    scores: Scores = {"found": [0.9], "other": [0.8], "plain": [0.7], "linear": [0.2]}
    figure = draw_race(race(scores), "accuracy", winner="found", baselines=["linear", "plain"])
    assert highlighted(figure) == ["found"]
    colors = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    assert [colors[name] for name in ("other", "plain", "linear")] == [PRIMARY, NOTE, MUTED]
    roles = ["winner: 90.00 %", "best other: 80.00 %", "best baseline: 70.00 %"]
    names = ["found", "other", "plain"]
    assert labels(figure) == [f"{role}\n{name}" for role, name in zip(roles, names, strict=True)]


def test_a_winner_that_does_not_lead_is_highlighted() -> None:
    figure = draw_race(race(RACE), "accuracy", winner="small", baselines=["small"])
    assert highlighted(figure) == ["small"]
    assert labels(figure) == ["best other: 80.00 %\nfound", "winner: 61.00 %\nsmall"]


@pytest.mark.parametrize(("winner", "role"), [(None, "leader"), ("unknown", "winner")])
def test_without_a_known_winner_the_leader_is_highlighted(winner: str | None, role: str) -> None:
    figure = draw_race(race(RACE), "accuracy", winner=winner)
    assert highlighted(figure) == ["found"]
    assert labels(figure)[0].startswith(role)


def test_of_a_perplexity_the_lowest_is_best() -> None:
    scores: Scores = {"lstm": [900.0, 150.0, 120.0], "transformer": [1500.0], "linear": [800.0]}
    figure = draw_race(race(scores, higher=False), "perplexity", winner="lstm")
    assert labels(figure) == ["winner: 120\nlstm", "best other: 800\nlinear"]


@pytest.mark.parametrize("higher", [True, False])
def test_outliers_are_not_drawn_but_counted(higher: bool) -> None:
    sign = 1 if higher else -1
    good: Scores = {f"n{i}": [sign * (0.5 + 0.01 * i)] for i in range(12)}
    scores: Scores = {**good, "diverged": [-sign * 1e6], "failed": [None]}
    figure = draw_race(race(scores, higher=higher), "r2", winner="n11")
    assert all(abs(end) < 1 for end in figure.axes[0].get_ylim())
    assert figure.get_supxlabel() == "not drawn: 1 of 13 scores (outliers)"


def test_a_bad_start_of_the_winner_is_not_an_outlier() -> None:
    scores: Scores = {"a": [0.7], "b": [0.71], "c": [-3.0, 0.9], "d": [0.7]}
    figure = draw_race(race(scores), "r2", winner="c")
    assert lines(figure)["c"] == [[1, -3], [2, 0.9]]
    assert figure.axes[0].get_ylim()[0] < -3


@pytest.mark.parametrize("score", [None, 0.0, 5e-324, 1e100])
def test_a_single_slice_can_be_drawn(score: float | None) -> None:
    figure = draw_race(race({"a": [score]}), "accuracy")
    assert list(lines(figure)) == ["a"]


def test_a_slice_that_a_resumed_run_repeats_is_drawn_once() -> None:
    slices = race({"a": [0.5], "b": [0.6]})
    again = [Slice(**{**row, "time": row["time"] + 5}) for row in slices]
    assert lines(draw_race([*slices, *again], "accuracy"))["a"] == [[1, 0.5]]


def test_the_picture_is_written_and_damaged_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "race.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in race({**RACE, "a<b$": [0.3]})))
    intact = read_race(path)
    more = b'[1]\n{"time": -1}\n\xff\xfe\n{"time": NaN}\n\n{"time": 1, "candidate": "x", "sco'
    path.write_bytes(more + b"\n" + path.read_bytes() + more)
    assert read_race(path) == intact
    save_race(tmp_path, "accuracy", winner="found", baselines={"small"})
    text = "".join(ElementTree.parse(tmp_path / "race.svg").getroot().itertext())
    assert "winner: 80.00 %" in text
    assert "4 candidates" in text


@pytest.mark.parametrize("content", [None, "", "x\n"])
def test_without_slices_no_picture_is_written(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "race.jsonl").write_text(content)
    save_race(tmp_path, "accuracy")
    assert not (tmp_path / "race.svg").exists()


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
    values = rng.integers(0, 6, (80, len(names))).tolist()
    rows = [dict(zip(names, own, strict=True)) for own in values]

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
    assert labels(figure) == ["Pareto front", "dominated"]
    assert labels(draw_front(rows[:1], "accuracy", "macs")) == ["Pareto front"]


# Compared methods


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
    importances = importances_of(study)
    options: dict[str, Any] = {"importances": importances, "title": "the study"}
    for folder in ("one", "two"):
        save_study_figures(tmp_path / folder, study, ["loss", "macs"], **options)
    paths = list((tmp_path / "two").iterdir())
    names = ["history", "front_macs", "importances", "marginals"]
    assert {path.name for path in paths} == {f"{name}.svg" for name in names}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "the study" in text
        assert text == (tmp_path / "one" / path.name).read_text(encoding="utf-8")
