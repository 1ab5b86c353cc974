"""The figure of a front: the genotypes of a search, with their costs and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
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
    """Draw scores against costs; each point is labeled by its number.

    Args:
        rows: Points with their ``metric``, their ``cost``, their number ``point``, and whether they
            are ``on_front``.
        metric: Name of the score.
        cost: Name of the cost.
        title: Title of the figure.
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
