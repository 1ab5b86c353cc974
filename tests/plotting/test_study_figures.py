"""Figures of studies and of strategies, and Pareto fronts."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from darts.judging.factorial import factorial_effects
from darts.judging.pareto import pareto_front
from darts.judging.surrogate import Surrogate
from darts.plotting.importances import draw_factorial, draw_importance_bars, draw_marginals
from darts.plotting.repetitions import draw_regret
from darts.plotting.study_figures import save_figures, save_study_figures
from darts.plotting.style import shorten
from darts.plotting.trials import draw_pareto_front, draw_trial_history
from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Range

SPACE = Parameters(
    [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("rate", Range(1e-3, 1.0, log=True)),
        Parameter("momentum", Range(0.0, 0.9), (("kind", ("sgd",)),)),
    ]
)


def surrogate(count: int = 40) -> Surrogate:
    """Return a surrogate of a score that depends only on the rate."""
    rng = Random(0)
    points: list[Point] = [SPACE.draw(rng) for _ in range(count)]
    return Surrogate(SPACE, points, [math.log10(p["rate"]) for p in points])


def legend(figure: Figure) -> list[str]:
    """Return the names in the legend of a figure."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def overlapping(texts: list[Any]) -> list[tuple[str, str]]:
    """Return the pairs of texts that overlap."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [
        (one, other)
        for index, (one, box) in enumerate(boxes)
        for other, other_box in boxes[:index]
        if box.overlaps(other_box)
    ]


def offsets(axes: Any) -> list[list[list[float]]]:
    """Return the coordinates of the points of each scatter plot."""
    return [np.round(dots.get_offsets(), 6).tolist() for dots in axes.collections]


# Trial history


def test_history_marks_each_trial_and_the_best_so_far() -> None:
    values = [0.5, 0.4, None, 0.9, 0.8, math.nan, 0.85]
    states = ["complete", "complete", "failed", "pruned", "complete", "failed", "complete"]
    figure = draw_trial_history(values, states, "accuracy", True, title="run")
    axes = figure.axes[0]
    assert offsets(axes) == [
        [[0, 0.5], [1, 0.4], [4, 0.8], [6, 0.85]],
        [[3, 0.9]],
        [],
        [[2, 0.02], [5, 0.02]],
    ]
    assert legend(figure) == ["complete (4)", "pruned (1)", "failed (2)", "best so far"]
    line = axes.get_lines()[0]
    assert np.asarray(line.get_xydata()).tolist() == [[0, 0.5], [4, 0.8], [6, 0.85], [6, 0.85]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial", "accuracy")
    assert figure.get_suptitle() == "run"
    assert "without a score" in figure.get_supxlabel()


def test_history_of_a_loss_follows_its_minimum_and_draws_outliers_at_the_top() -> None:
    values = [3.0, 2.0, 2.5, 1.0, 2.0, 2.2, 1000.0]
    figure = draw_trial_history(values, ["complete"] * 7, "loss", False, numbers=range(5, 12))
    axes = figure.axes[0]
    line = np.asarray(axes.get_lines()[0].get_xydata()).tolist()
    assert line == [[5, 3], [6, 2], [8, 1], [11, 1]]
    assert offsets(axes)[1] == [[11, 0.98]]
    assert axes.get_ylim()[1] < 10


def test_history_may_have_no_scores_or_no_trials() -> None:
    figure = draw_trial_history([None, None], ["failed"] * 2, "loss", False)
    assert not figure.axes[0].get_lines()
    assert draw_trial_history([], [], "loss", False).axes[0].get_xlabel() == "trial"


@pytest.mark.parametrize(
    ("values", "states", "message"),
    [([1.0], [], "1 values, 0 states"), ([1.0], ["lost"], "choose from complete, pruned, failed")],
)
def test_history_with_different_lengths_or_an_unknown_state_raises(
    values: list[Any], states: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        draw_trial_history(values, states, "loss", False)


# Importances and marginals


def test_importance_bars_have_names_and_numbers_in_descending_order() -> None:
    figure = draw_importance_bars(
        {"a": 0.05, "b": 0.6, "a.long.name.of.a.parameter.in.a.tree": 0.2}
    )
    axes: Any = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["b", "a.long.name.of.…eter.in.a.tree", "a"]
    assert [text.get_text() for text in axes.texts] == ["60.0 %", "20.0 %", "5.0 %"]
    assert [bar.get_width() for bar in axes.patches] == [0.6, 0.2, 0.05]


def test_last_importance_bar_sums_the_others() -> None:
    figure = draw_importance_bars({f"p{i}": 1 / 2**i for i in range(1, 9)}, max_bars=5)
    axes: Any = figure.axes[0]
    assert len(axes.patches) == 6
    assert axes.patches[-1].get_width() == pytest.approx(2**-6 + 2**-7 + 2**-8)
    assert axes.get_yticklabels()[-1].get_text() == "3 others together"


def test_no_importances_raises() -> None:
    with pytest.raises(ValueError, match="no importances"):
        draw_importance_bars({})


@pytest.mark.parametrize("count", [1, 2, 30])
def test_names_of_importance_bars_do_not_overlap(count: int) -> None:
    names = [f"architecture.of.the.normal.cell.{i}.operation" for i in range(count)]
    figure = draw_importance_bars({name: 0.5 / (i + 1) for i, name in enumerate(names)})
    figure.draw_without_rendering()
    axes: Any = figure.axes[0]
    assert overlapping([*axes.get_yticklabels(), *axes.texts]) == []
    assert all(label.get_window_extent().x0 >= 0 for label in axes.get_yticklabels())


def test_marginals_have_one_panel_per_parameter_with_mean_band_and_trials() -> None:
    model = surrogate()
    figure = draw_marginals(model, ["rate", "kind", "momentum"], levels=5, ylabel="loss")
    panels: dict[str, Any] = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == ["rate", "kind", "momentum"]
    rate = panels["rate"]
    known = model.marginal("rate", 5)
    drawn = np.asarray(rate.get_lines()[0].get_xydata())
    np.testing.assert_allclose(drawn, np.stack([known.values, known.mean], axis=1))
    band = rate.collections[1].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(max(np.add(known.mean, known.deviation)))
    assert rate.get_xscale() == "log"
    assert len(rate.collections[0].get_offsets()) == 40
    with_momentum = sum("momentum" in point for point in model.points)
    assert 0 < with_momentum < 40
    assert len(panels["momentum"].collections[0].get_offsets()) == with_momentum
    kind = panels["kind"]
    assert [label.get_text() for label in kind.get_xticklabels()] == ["sgd", "adam"]
    places = kind.collections[0].get_offsets()[:, 0]
    expected = [("sgd", "adam").index(point["kind"]) for point in model.points]
    assert places.round().tolist() == expected
    assert {axes.get_ylim() for axes in panels.values()} == {rate.get_ylim()}
    assert rate.get_ylabel() == "loss"


def test_marginals_default_to_the_most_important_parameters() -> None:
    titles = [axes.get_title() for axes in draw_marginals(surrogate()).axes]
    assert titles[0] == "rate"
    assert set(titles) == {"rate", "kind", "momentum"}
    with pytest.raises(ValueError, match="no parameters to draw"):
        draw_marginals(surrogate(), [])


def test_marginals_do_not_draw_outliers_but_count_them() -> None:
    model = surrogate()
    values = [*model.values.tolist()[:-1], -1e6]
    figure = draw_marginals(Surrogate(SPACE, model.points, values), ["kind"])
    assert figure.get_supxlabel() == "not drawn: 1 of 40 trials (outliers)"
    assert draw_marginals(model, ["kind"]).get_supxlabel() == ""


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
    with pytest.raises(ValueError, match="objectives is empty"):
        pareto_front(rows, {})


def test_pareto_figure_labels_the_trials_of_the_front_in_both_directions() -> None:
    rows: list[dict[str, Any]] = [
        {"trial": 10, "accuracy": 0.9, "macs": 100},
        {"trial": 11, "accuracy": 0.8, "macs": 10},
        {"trial": 12, "accuracy": 0.7, "macs": 50},
        {"trial": 13, "accuracy": None, "macs": 1},
        {"trial": 14, "accuracy": 0.9, "macs": 100},
    ]
    figure = draw_pareto_front(rows, "accuracy", "macs", True)
    axes: Any = figure.axes[0]
    assert offsets(axes) == [[[50, 0.7]]]
    assert np.asarray(axes.get_lines()[0].get_xydata()).tolist() == [[10, 0.8], [100, 0.9]]
    assert [text.get_text() for text in axes.texts] == ["11", "10, 14"]
    figure = draw_pareto_front(rows, "accuracy", "macs", False)
    axes = figure.axes[0]
    assert np.asarray(axes.get_lines()[0].get_xydata()).tolist() == [[10, 0.8], [50, 0.7]]
    with pytest.raises(ValueError, match="no row has both accuracy and joules"):
        draw_pareto_front(rows, "accuracy", "joules", True)


@pytest.mark.parametrize("higher", [True, False])
def test_labels_of_a_front_with_many_trials_do_not_overlap(higher: bool) -> None:
    sign = 1 if higher else -1
    rows = [{"trial": 100 + i, "score": sign * i / 200, "cost": 10 + i} for i in range(60)]
    figure = draw_pareto_front(rows, "score", "cost", higher)
    texts: list[Any] = list(figure.axes[0].texts)
    assert 10 < len(texts) < 60
    assert overlapping(texts) == []


# Factorial design and regret


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


def test_regret_shows_mean_and_band_of_each_strategy() -> None:
    curves = {"random": [[4.0, 2.0, 1.0], [2.0, 2.0, 0.0]], "evolution": [[3.0, 1.0]]}
    figure = draw_regret(curves)
    axes: Any = figure.axes[0]
    drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()]
    assert drawn == [[[1, 3], [2, 2], [3, 0.5]], [[1, 3], [2, 1]]]
    assert legend(figure) == ["random (2 seeds)", "evolution (1 seed)"]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == 0
    assert heights.max() == pytest.approx(3 + 12.7062 * math.sqrt(2) / math.sqrt(2))
    assert axes.get_xscale() == "log"
    assert draw_regret(curves, log=False).axes[0].get_xscale() == "linear"
    with pytest.raises(ValueError, match="must be equal"):
        draw_regret({"random": [[1.0], [1.0, 2.0]]})
    with pytest.raises(ValueError, match="no curves"):
        draw_regret({})


# Files


@pytest.mark.slow
def test_equal_studies_give_equal_files(tmp_path: Path) -> None:
    model = surrogate()
    rows: list[dict[str, Any]] = [
        {"trial": i, "state": "complete", "loss": float(value), "macs": i + 1.0}
        for i, value in enumerate(model.values)
    ]
    rows.append({"trial": 40, "state": "failed"})
    rows.append({"trial": 41, "state": "pruned", "loss": 0.5, "macs": 0.1})
    design = factorial_effects(
        {("default", "default"): {1: 1.0, 2: 2.0}, ("best", "best"): {1: 2.0, 2: 3.0}}
    )
    options: dict[str, Any] = {"surrogate": model, "effects": design, "title": "the study"}
    for folder in ("one", "two"):
        paths = save_study_figures(
            tmp_path / folder, rows, objectives=["loss", "macs"], higher_is_better=False, **options
        )
    names = ["history", "front_macs", "importances", "marginals", "factorial"]
    assert [path.name for path in paths] == [f"{name}.svg" for name in names]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "the study" in text
        assert text == (tmp_path / "one" / path.name).read_text(encoding="utf-8")
    assert "failed (1)" in (tmp_path / "one" / "history.svg").read_text(encoding="utf-8")


def test_study_without_scores_has_only_a_history(tmp_path: Path) -> None:
    rows = [{"trial": 0, "state": "failed"}]
    options: dict[str, Any] = {"objectives": ["loss", "macs"], "higher_is_better": False}
    assert [path.name for path in save_study_figures(tmp_path, rows, **options)] == ["history.svg"]


def test_figures_are_saved_under_their_names(tmp_path: Path) -> None:
    figures = {
        "a": lambda: draw_importance_bars({"x": 0.5}),
        "b": lambda: draw_importance_bars({"x": 0.4}),
    }
    paths = save_figures(tmp_path / "new", figures)
    assert paths == [tmp_path / "new" / "a.svg", tmp_path / "new" / "b.svg"]
    assert "40.0 %" in paths[1].read_text(encoding="utf-8")


def test_shortened_names_keep_both_ends() -> None:
    assert shorten("short") == "short"
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert len(shorten("x" * 99)) == 30
