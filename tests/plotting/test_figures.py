"""Content of the figures of a run, and files that do not depend on time or chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from darts.plotting.figures import (
    draw_alpha_heatmap,
    draw_alpha_history,
    draw_confusion,
    draw_curves,
    points_of,
)
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
