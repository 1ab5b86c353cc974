"""Pictures of a black-box search, and all of them in its directory.

The regret is drawn here; ``history_picture`` and ``front_picture`` have the trials, and
``account_pictures`` what mattered.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts.plotting import importances
from darts.judging.factorial import Estimate, Factorial
from darts.judging.pareto import has_number, pareto
from darts.plotting.importances import draw_factorial, draw_importance_bars, draw_marginals
from darts.plotting.pareto_front import draw_pareto_front
from darts.plotting.style import (
    line_style,
    log_ticks,
    new_figure,
    save_figure,
    shorten,
    style_axes,
    integer_ticks,
)
from darts.plotting.trial_history import draw_trial_history

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from darts.judging.surrogate import Surrogate

__all__ = [
    "draw_factorial",
    "save_study_figures",
    "draw_pareto_front",
    "draw_trial_history",
    "draw_importance_bars",
    "draw_marginals",
    "pareto",
    "draw_regret",
    "save_figures",
]


def draw_regret(
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    log: bool = True,
    ylabel: str = "regret",
    title: str = "",
) -> Figure:
    """Draw the mean of each strategy's regret over the queries, with its 95 % interval.

    Args:
        curves: by strategy one curve a seed, ``(seeds, queries)``, from the first query on.
        log: whether the queries are on a logarithmic axis.
        ylabel: what the regret is of, and its unit.
        title: heading.

    Raises:
        ValueError: without curves, and for a strategy whose curves differ in length.
    """
    import numpy as np

    if not curves:
        raise ValueError("there are no curves to draw")
    figure = new_figure(7.0, 3.8)
    axes = figure.add_subplot()
    for index, (name, seeds) in enumerate(curves.items()):
        lengths = {len(curve) for curve in seeds}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(f"the curves of {name} must be of one length, not {sorted(lengths)}")
        points = [Estimate.of(column) for column in np.asarray(seeds, dtype=float).T]
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
            # Regret is never below 0, whatever a symmetric interval says.
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


def save_figures(directory: str | os.PathLike[str], figures: Mapping[str, Figure]) -> list[Path]:
    """Write each figure as ``<name>.svg`` into a directory; the files' paths."""
    paths = [Path(directory) / f"{name}.svg" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


def save_study_figures(
    directory: str | os.PathLike[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    objectives: Sequence[str],
    higher_is_better: bool,
    surrogate: Surrogate | None = None,
    corners: Factorial | None = None,
    title: str = "",
) -> list[Path]:
    """Leave the pictures of a study in its directory, those for which there is something to draw.

    ``history.svg``, ``front_<cost>.svg`` for each cost, ``importances.svg``, ``marginals.svg`` and
    ``corners.svg``.

    Args:
        directory: where to.
        rows: one a finished trial, with ``trial``, ``state`` and its scores by name.
        objectives: the metric, and then costs, which are to be small.
        higher_is_better: direction of the metric.
        surrogate: fitted to the trials.
        corners: the factorial design.
        title: heading of all pictures.

    Returns:
        the files' paths.
    """
    metric, *costs = objectives
    values = [row[metric] if has_number(row, metric) else None for row in rows]
    states, numbers = [str(row["state"]) for row in rows], [int(row["trial"]) for row in rows]
    figures = {
        "history": draw_trial_history(values, states, metric, higher_is_better, numbers=numbers, title=title)
    }
    complete = [row for row in rows if row["state"] == "complete"]
    for cost in costs:
        if any(has_number(row, metric) and has_number(row, cost) for row in complete):
            figures[f"front_{cost}"] = draw_pareto_front(complete, metric, cost, higher_is_better, title=title)
    if surrogate is not None:
        importances = surrogate.importances()
        figures["importances"] = draw_importance_bars(importances, title=title)
        names = list(importances)[: importances.PANELS]
        figures["marginals"] = draw_marginals(surrogate, names, ylabel=metric, title=title)
    if corners is not None:
        figures["corners"] = analysis.factorial_seeds(corners, ylabel=metric, title=title)
    return save_figures(directory, figures)
