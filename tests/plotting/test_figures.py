"""Figures of runs and of the race of ``darts.find``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from darts.plotting.figures import (
    draw_alpha_heatmap,
    draw_alpha_history,
    draw_confusion,
    draw_curves,
    points_of,
)
from darts.plotting.race import Slice, draw_race, read_race, save_race
from darts.plotting.style import HIGHLIGHT, MUTED, NOTE, PRIMARY
from darts.searching.alphas import GroupHistory

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
    history = [probabilities(seed) for seed in range(4)]
    figure = draw_alpha_history(group(*history), title="normal")
    panels: dict[str, Any] = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == list(EDGES)
    line = panels["1→3"].get_lines()[2]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [p[3, 2].item() for p in history], rtol=1e-6)
    (legend,) = figure.legends
    assert strings(legend.get_texts()) == list(OPERATIONS)


def test_chosen_operations_are_thick_in_the_history() -> None:
    figure = draw_alpha_history(group(probabilities(0), probabilities(1)), chosen=[(0, 1), (1, 2)])
    panels: list[Any] = [axes for axes in figure.axes if axes.get_visible()]
    widths = [[line.get_linewidth() for line in axes.get_lines()] for axes in panels]
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
    for number in range(max(map(len, scores.values()))):
        for name, own in scores.items():
            if number >= len(own):
                continue
            score = own[number]
            newest[name] = -math.inf if score is None else score if higher else -score
            slices.append(
                Slice(
                    time=(number + 1) * 60.0,
                    candidate=name,
                    score=score,
                    seconds=(number + 1) * 30.0,
                    epochs=number + 1,
                    leader=max(newest, key=newest.__getitem__),
                )
            )
    return slices


def lines(figure: Any) -> dict[str, list[list[float]]]:
    """Return the points of the line of each candidate."""
    found = figure.axes[0].get_lines()
    return {line.get_label(): np.asarray(line.get_xydata()).round(6).tolist() for line in found}


def highlighted(figure: Any) -> list[str]:
    found = figure.axes[0].get_lines()
    return [x.get_label() for x in found if to_hex(x.get_color()) == HIGHLIGHT.lower()]


def color(figure: Any, name: str) -> str:
    (line,) = (x for x in figure.axes[0].get_lines() if x.get_label() == name)
    return str(line.get_color())


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


RACE: Scores = {"small": [0.6, 0.61], "found": [0.5, 0.7, 0.8], "large": [0.4]}


def test_winner_best_other_and_best_baseline_have_colors_and_labels() -> None:
    scores: Scores = {"found": [0.9], "other": [0.8], "plain": [0.7], "linear": [0.2]}
    figure = draw_race(race(scores), "accuracy", winner="found", baselines=["linear", "plain"])
    assert highlighted(figure) == ["found"]
    assert [color(figure, name) for name in ("other", "plain", "linear")] == [PRIMARY, NOTE, MUTED]
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
