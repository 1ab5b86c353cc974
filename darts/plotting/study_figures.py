"""The figures of a study, most of them drawn by Optuna, written to files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.study import Study
from optuna.trial import FrozenTrial

from darts.judging.importances import ParameterImportances
from darts.plotting.style import MAX_TITLE, label_text, save_figure
from darts.strategies.strategy import silence_optuna_warnings
from darts.tracking.optional import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PANELS = 6  # parameters in the figure of marginals


def save_study_figures(
    directory: Path,
    study: Study,
    objectives: Sequence[str],
    *,
    importances: ParameterImportances | None = None,
    title: str = "",
) -> None:
    """Write the figures of a study for which there is data.

    They are ``history.svg``, ``front_<cost>.svg`` for each cost, and with importances also
    ``importances.svg`` and ``marginals.svg``. A figure that cannot be drawn or written causes one
    warning and prevents no other figure. The first of the ``objectives`` is the metric, the others
    are the costs.
    """
    metric, *costs = objectives
    figures: dict[str, Callable[[], Figure]] = {"history": partial(draw_history, study, metric)}
    for position, cost in enumerate(costs, 1):
        figures[f"front_{cost}"] = partial(draw_pareto_front, study, metric, cost, position)
    if importances is not None:
        figures["importances"] = partial(draw_importances, importances, metric)
        names = list(importances.by_name)[:MAX_PANELS]
        figures["marginals"] = partial(draw_marginals, study, names, metric)
    for name, draw in figures.items():
        with optional(path := directory / f"{name}.svg"):
            figure = draw()
            figure.suptitle(label_text(title, MAX_TITLE), fontsize=12)
            save_figure(figure, path)


def draw_history(study: Study, metric: str) -> Figure:
    """Draw the score of each complete trial; with one objective, also the best score so far."""
    from optuna.visualization.matplotlib import plot_optimization_history

    # With a function, Optuna draws no best score.
    target = _score if len(study.directions) > 1 else None
    return _drawn(
        lambda: plot_optimization_history(study, target=target, target_name=metric), 7.0, 3.6
    )


def draw_pareto_front(study: Study, metric: str, cost: str, position: int) -> Figure:
    """Draw the score of each complete trial against the cost that is objective ``position``."""
    from optuna.visualization.matplotlib import plot_pareto_front

    def values(trial: FrozenTrial) -> Sequence[float]:
        return [trial.values[position], trial.values[0]]

    names = [cost, metric]
    figure = _drawn(lambda: plot_pareto_front(study, target_names=names, targets=values), 6.0, 4.2)
    low, high = figure.axes[0].dataLim.intervalx
    if 0 < 30 * low < high:
        figure.axes[0].set_xscale("log")
    return figure


def draw_importances(importances: ParameterImportances, metric: str) -> Figure:
    """Draw one bar per parameter, the largest importance first."""
    from optuna.visualization.matplotlib import plot_param_importances

    study, evaluator = importances.study, importances.evaluator
    height = 1.3 + 0.25 * len(importances.by_name)
    return _drawn(lambda: plot_param_importances(study, evaluator, target_name=metric), 7.0, height)


def draw_marginals(study: Study, names: Sequence[str], metric: str) -> Figure:
    """Draw the score of each complete trial against each of some parameters."""
    from optuna.visualization.matplotlib import plot_slice

    # Optuna makes each panel half as wide as a figure.
    figure = _drawn(
        lambda: plot_slice(study, list(names), target=_score, target_name=metric), 5.0, 3.6
    )
    for axes in figure.axes:
        axes.tick_params(axis="x", labelrotation=30, labelsize=8)
    return figure


def _score(trial: FrozenTrial) -> float:
    return float(trial.values[0])


def _drawn(plot: Callable[[], object], width: float, height: float) -> Figure:
    """Return the figure that a function of Optuna draws with pyplot; sizes in inches.

    Optuna changes the style of all later figures, so the style is restored.
    """
    import matplotlib
    from matplotlib import pyplot

    options = matplotlib.rc_context({"backend": "agg", "figure.figsize": (width, height)})
    with options, silence_optuna_warnings():
        plot()
        figure = pyplot.gcf()
        pyplot.close(figure)
    figure.set_layout_engine("constrained")
    return figure
