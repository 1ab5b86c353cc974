"""Figures of repeated runs: the regret of strategies, and the scores of compared methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from darts.escaping import for_figure
from darts.judging.factorial import Estimate
from darts.judging.statistics import Interval
from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    PRIMARY,
    add_legend,
    add_title,
    integer_ticks,
    label_text,
    line_style,
    log_ticks,
    new_figure,
    shorten,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_regret(
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    log: bool = True,
    ylabel: str = "regret",
    title: str = "",
) -> Figure:
    """Draw the mean regret of each strategy over its queries, with a 95 % confidence interval.

    A query asks for the score of one architecture. The regret is the difference between the best
    possible score and the best score so far.

    Args:
        curves: By strategy, the regret after each query, ``(seeds, queries)``.
        log: Whether the axis of the queries is logarithmic.
        ylabel: Name of the regret.
        title: Title of the figure.

    Raises:
        ValueError: If there are no curves, or those of a strategy are empty or differ in length.
    """
    if not curves:
        raise ValueError("there are no curves to draw")
    figure = new_figure(7.0, 3.8)
    axes = figure.add_subplot()
    for index, (name, seeds) in enumerate(curves.items()):
        lengths = {len(curve) for curve in seeds}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                f"the curves of {name} have lengths {sorted(lengths)}; must be equal and at least 1"
            )
        points = [Estimate.from_values(regrets) for regrets in np.asarray(seeds, dtype=float).T]
        queries = range(1, len(points) + 1)
        style = line_style(index, shorten(name))
        style["label"] += f" ({len(seeds)} seed{'s' if len(seeds) > 1 else ''})"
        means = [point.mean for point in points]
        axes.plot(queries, means, marker="o" if len(points) == 1 else None, **style)
        if len(seeds) > 1:
            # Regret is at least 0, even if its symmetric interval is not.
            low = [max(0.0, point.low or 0.0) for point in points]
            high = [point.high or 0.0 for point in points]
            axes.fill_between(queries, low, high, color=style["color"], alpha=0.15, linewidth=0)
    if log:
        log_ticks(axes)
    else:
        integer_ticks(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("queries")
    axes.set_ylabel(for_figure(ylabel))
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

    Each method has a column; the first method is highlighted. A thin line joins the retrainings of
    one search.

    Args:
        scores: By method, the scores ``(searches, retrainings)``.
        intervals: By method, the mean and its interval.
        label: Name of the score.
        title: Title of the figure.

    Raises:
        ValueError: If there are no scores.
    """
    if not scores:
        raise ValueError("there are no scores to draw")
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
