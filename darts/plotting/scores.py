"""Figures of scores: against a cost, and of compared methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from darts.escaping import for_figure
from darts.judging.statistics import Interval
from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    PRIMARY,
    ArtistStyle,
    add_legend,
    add_title,
    label_text,
    new_figure,
    style_axes,
)
from darts.reading import JsonObject

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_front(rows: Sequence[JsonObject], metric: str, cost: str, *, title: str = "") -> Figure:
    """Draw the scores of genotypes against their costs; each point is labeled by its number.

    The rows have the keys ``point``, ``on_front``, and the names of the metric and of the cost.
    """
    figure = new_figure(6.0, 4.2)
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
    add_title(figure, title)
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
    figure = new_figure(1.6 + 1.5 * len(scores), 3.8)
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
    if title:
        add_title(figure, title, size=10)
    return figure
