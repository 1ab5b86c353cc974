"""Figures of runs: alphas, metrics over the epochs, confusion matrix, front, compared scores.

The figures do not use pyplot, so they need no display and no global state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from torch import Tensor

from darts.escaping import for_figure
from darts.judging.rankings import has_number
from darts.judging.statistics import Interval
from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    PRIMARY,
    ArtistStyle,
    add_legend,
    integer_ticks,
    label_text,
    line_style,
    new_figure,
    shorten,
    style_axes,
)
from darts.reading import JsonObject
from darts.searching.alphas import GroupHistory, column_names
from darts.tracking.formats import is_fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# `(x, y)` of each point of a line.
Points: TypeAlias = Sequence[tuple[float, float]]

# With more classes than these, a confusion matrix shows no numbers, or no names of classes.
_MAX_CLASSES_WITH_NUMBERS, _MAX_CLASSES_WITH_NAMES = 20, 60
_COLUMNS = 4  # of the panels in the history of the alphas
_MAX_EPOCHS = 200  # that are drawn; a panel is about as many pixels wide


def draw_alpha_heatmap(
    history: GroupHistory, *, chosen: Collection[tuple[int, int]] = (), title: str = ""
) -> Figure:
    """Draw the last probabilities of a group as a matrix of edges and operations.

    The operations that the genotype keeps, ``(row, column)`` in ``chosen``, are outlined.
    """
    from matplotlib.patches import Rectangle

    values = np.array(history["epochs"][-1])
    rows, columns = values.shape
    figure = new_figure(1.9 + 0.72 * columns, 1.5 + 0.34 * rows, title)
    # At least twice the uniform probability, so that a search that has just begun looks undecided.
    darkest = max(float(values.max()), 2 / columns)
    axes = _draw_matrix(figure, values, darkest, "probability", "{:.2f}".format)
    axes.set_aspect("auto")
    axes.set_xticks([column + 0.5 for column in range(columns - 1)], minor=True)
    axes.set_yticks([row + 0.5 for row in range(rows - 1)], minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)  # between the entries
    for row, column in chosen:
        style: ArtistStyle = {"fill": False, "edgecolor": HIGHLIGHT, "linewidth": 2.2, "zorder": 3}
        gid = f"chosen-{row}-{column}"
        axes.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, gid=gid, **style))
    texts = [label_text(operation) for operation in column_names(history["operations"])]
    axes.set_xticks(range(columns), texts, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(rows), [label_text(name) for name in history["edges"]])
    axes.xaxis.tick_top()
    axes.set_ylabel("edge")
    return figure


def _draw_matrix(
    figure: Figure, values: np.ndarray, largest: float, label: str, text: Callable[[float], str]
) -> Axes:
    """Draw a matrix of values from 0 to the largest as colors and text, with a color bar."""
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="YlGnBu", vmin=0.0, vmax=largest)
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value > 0.5 * largest else "#222222"
        if shown := text(value):
            axes.text(column, row, shown, ha="center", va="center", fontsize=8, color=color)
    axes.tick_params(which="both", length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.04)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label(label, fontsize=9)
    return axes


def draw_alpha_history(
    history: GroupHistory, *, chosen: Collection[tuple[int, int]] = (), title: str = ""
) -> Figure:
    """Draw probabilities over the epochs, one panel per edge, one line per operation.

    The operations that the genotype keeps, ``(edge, operation)`` in ``chosen``, are thick.
    """
    edges, operations = history["edges"], column_names(history["operations"])
    count = len(history["epochs"])
    # The last epoch is always among those that are drawn.
    epochs = range(count, 0, -math.ceil(count / _MAX_EPOCHS))[::-1]
    values = np.array([history["epochs"][epoch - 1] for epoch in epochs])  # (T, E, O)
    columns = min(len(edges), _COLUMNS)
    rows = -(-len(edges) // columns)
    height = max(1.0 + 1.45 * rows, _legend_height(len(operations)))
    figure = new_figure(1.9 + 1.75 * columns, height, title)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    marker = "o" if len(epochs) == 1 else None  # since one epoch gives no line
    for edge, axes in enumerate(grid.flat):
        if edge >= len(edges):
            axes.set_visible(False)
            continue
        for index, operation in enumerate(operations):
            style = line_style(index, operation)
            if (edge, index) in chosen:
                style |= {"linewidth": 3.0, "zorder": 3}
            axes.plot(epochs, values[:, edge, index], marker=marker, markersize=3, **style)
        axes.set_title(label_text(edges[edge]), fontsize=9, pad=3)
        axes.set_ylim(0, 1.05 * float(values.max()) or 1)
        style_axes(axes)
        lowest = edge + columns >= len(edges)
        axes.tick_params(labelbottom=lowest)
        if lowest:
            axes.set_xlabel("epoch", fontsize=8)
        integer_ticks(axes)
    texts = [label_text(operation) for operation in operations]
    lines = grid[0, 0].get_lines()
    figure.legend(lines, texts, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def draw_curves(
    panels: Mapping[str, Mapping[str, Points]],
    *,
    x: str = "epoch",
    dots: bool = False,
    title: str = "",
) -> Figure:
    """Draw a panel of lines for each quantity; several lines have a legend.

    Fractions, such as accuracies, are in percent. The values of ``x`` are integers. With ``dots``,
    the points have no lines between them.
    """
    height = max(2.6, _legend_height(max(map(len, panels.values()), default=0)))
    figure = new_figure(0.4 + 4.4 * len(panels), height, title)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (quantity, lines) in zip(grid, panels.items(), strict=True):
        scale, unit = (100, ", %") if is_fraction(quantity) else (1, "")
        for index, (name, points) in enumerate(lines.items()):
            style = line_style(index, shorten(name))
            if dots or len(points) == 1:  # since one point gives no line
                style |= {"marker": "o", "markersize": 3.5, "linestyle": ""}
            axes.plot([p[0] for p in points], [scale * p[1] for p in points], **style)
        axes.set_title(label_text(quantity, 80) + unit, fontsize=10, loc="left")
        axes.set_xlabel(for_figure(x), fontsize=9)
        style_axes(axes)
        integer_ticks(axes)
        if len(lines) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    return figure


def points_of(rows: Iterable[JsonObject], name: str, x: str = "epoch") -> Points:
    """Return the values of two columns of a table, in the rows that have numbers for both."""
    return [(row[x], row[name]) for row in rows if has_number(row, x) and has_number(row, name)]


def _legend_height(entries: int) -> float:
    """Return the height, in inches, of a figure with a legend of many entries next to its axes."""
    return 0.6 + 0.17 * entries


def draw_confusion(counts: Tensor, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw which percentage of the samples of each true class is predicted as each class.

    The counts of samples are ``(true classes, predicted classes)``.
    """
    values = counts.detach().cpu().double()
    percent = (100 * values / values.sum(1, keepdim=True).clamp(min=1)).numpy()

    def text(value: float) -> str:
        if not value or len(names) > _MAX_CLASSES_WITH_NUMBERS:
            return ""
        return f"{value:.1f}" if value < 99.95 else "100"

    size = min(0.6 * len(names), 10.0)
    figure = new_figure(2.6 + size, 1.8 + size, title)
    axes = _draw_matrix(figure, percent, 100, "percent of the true class", text)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if len(names) <= _MAX_CLASSES_WITH_NAMES:
        short_names = [label_text(name, 16) for name in names]
        slanted: ArtistStyle = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(names)), short_names, **slanted)
        axes.set_yticks(range(len(names)), short_names)
    return figure


def draw_front(rows: Sequence[JsonObject], metric: str, cost: str, *, title: str = "") -> Figure:
    """Draw the scores of genotypes against their costs; each point is labeled by its number.

    The rows have the keys ``point``, ``on_front``, and the names of the metric and of the cost.
    """
    figure = new_figure(6.0, 4.2, title)
    axes = figure.add_subplot()
    text: ArtistStyle = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 8}
    for on_front, name, color in ((True, "Pareto front", HIGHLIGHT), (False, "dominated", MUTED)):
        members = [row for row in rows if row["on_front"] is on_front]
        if members:
            xs, ys = [row[cost] for row in members], [row[metric] for row in members]
            axes.scatter(xs, ys, s=25, color=color, label=name)
        for row in members:
            axes.annotate(str(row["point"]), (row[cost], row[metric]), **text)
    axes.set_xlabel(label_text(cost))
    axes.set_ylabel(label_text(metric))
    style_axes(axes)
    add_legend(figure)
    return figure


def draw_scores(
    scores: Mapping[str, Sequence[Sequence[float]]],
    intervals: Mapping[str, Interval],
    *,
    label: str,
    title: str = "",
) -> Figure:
    """Draw all scores of each method, its mean and the confidence interval of the mean.

    Each method has a column with its scores, ``(searches, retraining runs)``; the first method is
    highlighted. A thin line joins the retraining runs of one search.
    """
    figure = new_figure(1.6 + 1.5 * len(scores), 3.8, title or None, size=10)
    axes = figure.add_subplot()
    for column, (name, searches) in enumerate(scores.items()):
        color = HIGHLIGHT if column == 0 else PRIMARY
        positions = column - 0.3 + 0.35 * (np.arange(len(searches)) + 0.5) / len(searches)
        for x, values in zip(positions.tolist(), searches, strict=True):
            axes.plot([x, x], [min(values), max(values)], color=MUTED, linewidth=1.0)
            axes.plot([x] * len(values), values, "o", color=color, markersize=3.5, alpha=0.75)
        interval = intervals[name]
        if interval.low is not None and interval.high is not None:
            bar = axes.plot([column + 0.25] * 2, [interval.low, interval.high], color=color, lw=2.0)
            bar[0].set_gid(f"interval-{name}")
        axes.plot(column + 0.25, interval.mean, "D", color=color, markersize=5)
    axes.set_xticks(range(len(scores)), [label_text(name, 18) for name in scores])
    axes.set_xlim(-0.6, len(scores) - 0.4)
    axes.set_ylabel(for_figure(label), fontsize=9)
    style_axes(axes)
    axes.grid(False, axis="x")
    return figure
