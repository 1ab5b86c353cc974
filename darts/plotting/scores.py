"""Scores of several methods as strips: a point per network, next to the interval of the mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from darts.judging.statistics import Interval
from darts.plotting.style import HIGHLIGHT, MUTED, PRIMARY, new_figure, shorten, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_scores(
    scores: Mapping[str, Sequence[Sequence[float]]],
    intervals: Mapping[str, Interval],
    *,
    label: str,
    title: str = "",
) -> Figure:
    """Draw one column per method; the first method is highlighted.

    Args:
        scores: By method, the scores of the retrainings of each search. A line joins the
            retrainings of a search.
        intervals: By method, the interval of its mean.
        label: Name of the score.
        title: Title of the figure.

    Raises:
        ValueError: If there are no scores.
    """
    if not scores:
        raise ValueError("there are no scores to draw")
    figure = new_figure(1.6 + 1.5 * len(scores), 3.8)
    axes = figure.add_subplot()
    for column, (name, groups) in enumerate(scores.items()):
        color = HIGHLIGHT if column == 0 else PRIMARY
        positions = column - 0.3 + 0.35 * (np.arange(len(groups)) + 0.5) / len(groups)
        for x, group in zip(positions.tolist(), groups, strict=True):
            axes.plot([x, x], [min(group), max(group)], color=MUTED, linewidth=1.0)
            axes.plot([x] * len(group), group, "o", color=color, markersize=3.5, alpha=0.75)
        interval = intervals[name]
        if interval.low is not None and interval.high is not None:
            bar = axes.plot([column + 0.25] * 2, [interval.low, interval.high], color=color, lw=2.0)
            bar[0].set_gid(f"interval-{name}")
        axes.plot(column + 0.25, interval.mean, "D", color=color, markersize=5)
    axes.set_xticks(range(len(scores)), [shorten(name, 18) for name in scores])
    axes.set_xlim(-0.6, len(scores) - 0.4)
    axes.set_ylabel(label, fontsize=9)
    style_axes(axes)
    axes.grid(False, axis="x")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
