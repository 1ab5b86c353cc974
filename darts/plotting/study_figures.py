"""The figures of a study, written to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from darts.judging.factorial import FactorialEffects
from darts.judging.pareto import has_number
from darts.plotting.importances import (
    MAX_PANELS,
    draw_factorial,
    draw_importance_bars,
    draw_marginals,
)
from darts.plotting.style import save_figure
from darts.plotting.trials import draw_pareto_front, draw_trial_history
from darts.reading import JsonObject
from darts.tracking.optional import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from darts.judging.surrogate import Surrogate


def save_figures(
    directory: str | os.PathLike[str], figures: Mapping[str, Callable[[], Figure]]
) -> list[Path]:
    """Draw each figure and write it to ``<name>.svg`` in a directory; return the paths.

    A figure that cannot be drawn or written causes one warning and prevents no other figure.
    """
    paths = []
    for name, draw in figures.items():
        with optional(path := Path(directory) / f"{name}.svg"):
            save_figure(draw(), path)
            paths.append(path)
    return paths


def save_study_figures(
    directory: str | os.PathLike[str],
    rows: Sequence[JsonObject],
    *,
    objectives: Sequence[str],
    higher_is_better: bool,
    surrogate: Surrogate | None = None,
    effects: FactorialEffects | None = None,
    title: str = "",
) -> list[Path]:
    """Write the figures of a study for which there is data, and return their paths.

    They are ``history.svg``, ``front_<cost>.svg`` for each cost, ``importances.svg`` and
    ``marginals.svg`` (with a surrogate), and ``factorial.svg`` (with effects).

    Args:
        directory: Where to write the files.
        rows: Finished trials: the number ``trial``, the ``state``, and metrics and costs by name.
        objectives: Name of the metric, followed by those of costs. Lower costs are better.
        higher_is_better: Whether higher values of the metric are better.
        surrogate: Surrogate that is fitted to the trials.
        effects: Effects that the factorial design measured.
        title: Title of all figures.
    """
    metric, *costs = objectives
    values = [row[metric] if has_number(row, metric) else None for row in rows]
    states, numbers = [str(row["state"]) for row in rows], [int(row["trial"]) for row in rows]
    figures: dict[str, Callable[[], Figure]] = {
        "history": partial(
            draw_trial_history,
            values,
            states,
            metric,
            higher_is_better,
            numbers=numbers,
            title=title,
        )
    }
    complete = [row for row in rows if row["state"] == "complete"]
    for cost in costs:
        if any(has_number(row, metric) and has_number(row, cost) for row in complete):
            figures[f"front_{cost}"] = partial(
                draw_pareto_front, complete, metric, cost, higher_is_better, title=title
            )
    if surrogate is not None:
        importances = surrogate.importances()
        names = list(importances)[:MAX_PANELS]
        figures["importances"] = partial(draw_importance_bars, importances, title=title)
        figures["marginals"] = partial(draw_marginals, surrogate, names, ylabel=metric, title=title)
    if effects is not None:
        figures["factorial"] = partial(draw_factorial, effects, ylabel=metric, title=title)
    return save_figures(directory, figures)
