"""Regret of search strategies over their queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from darts.judging.factorial import Estimate
from darts.plotting.style import (
    integer_ticks,
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
    """Draw the mean regret of each strategy over the queries, with its 95 % interval.

    Args:
        curves: By strategy, one curve per seed, ``(seeds, queries)``, from the first query on.
        log: Whether the axis of the queries is logarithmic.
        ylabel: Quantity and unit of the regret.
        title: Title of the figure.

    Raises:
        ValueError: If there are no curves, or those of a strategy have different lengths.
    """
    if not curves:
        raise ValueError("there are no curves to draw")
    figure = new_figure(7.0, 3.8)
    axes = figure.add_subplot()
    for index, (name, seeds) in enumerate(curves.items()):
        lengths = {len(curve) for curve in seeds}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(f"the curves of {name} have lengths {sorted(lengths)}; must be equal")
        points = [Estimate.from_values(column) for column in np.asarray(seeds, dtype=float).T]
        queries = range(1, len(points) + 1)
        style = line_style(index, shorten(name))
        style["label"] += f" ({len(seeds)} seed{'s' if len(seeds) > 1 else ''})"
        axes.plot(
            queries,
            [point.mean for point in points],
            marker="o" if len(points) == 1 else None,
            **style,
        )
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
    axes.set_ylabel(ylabel)
    style_axes(axes)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=12)
    return figure
