"""Scores of several methods as strips: each network a point, beside them the mean's interval."""

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
    """Draw a column a method, the first of them highlighted.

    Args:
        scores: by method, of the retrainings of each search; those of a search are joined.
        intervals: by method, of its mean.
        label: what the scores are.
        title: heading.

    Raises:
        ValueError: without scores.
    """
    if not scores:
        raise ValueError("there are no scores to draw")
    figure = new_figure(1.6 + 1.5 * len(scores), 3.8)
    axes = figure.add_subplot()
    for column, (name, groups) in enumerate(scores.items()):
        color = HIGHLIGHT if column == 0 else PRIMARY
        places = column - 0.3 + 0.35 * (np.arange(len(groups)) + 0.5) / len(groups)
        for place, group in zip(places.tolist(), groups, strict=True):
            across = [place] * len(group)
            axes.plot([place, place], [min(group), max(group)], color=MUTED, linewidth=1.0)
            axes.plot(across, group, "o", color=color, markersize=3.5, alpha=0.75)
        found = intervals[name]
        if found.low is not None and found.high is not None:
            bar = axes.plot([column + 0.25] * 2, [found.low, found.high], color=color, lw=2.0)
            bar[0].set_gid(f"interval-{name}")
        axes.plot(column + 0.25, found.mean, "D", color=color, markersize=5)
    axes.set_xticks(range(len(scores)), [shorten(name, 18) for name in scores])
    axes.set_xlim(-0.6, len(scores) - 0.4)
    axes.set_ylabel(label, fontsize=9)
    style_axes(axes)
    axes.grid(False, axis="x")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
