"""The race of ``darts find``: the score of each candidate over the time of the run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from darts.escaping import for_figure
from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    NOTE,
    PRIMARY,
    ArtistStyle,
    label_text,
    new_figure,
    save_figure,
    style_axes,
)
from darts.tracking.formats import format_value, is_fraction
from darts.tracking.race_log import FILE, Slice, read_race

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_Series: TypeAlias = dict[str, list[Slice]]  # the slices of each candidate

# By the role of a candidate.
_WINNER: ArtistStyle = {"color": HIGHLIGHT, "linewidth": 2.2, "markersize": 5, "zorder": 4}
_STYLES: dict[str, ArtistStyle] = {
    "winner": _WINNER,
    "leader": _WINNER,
    "best other": {"color": PRIMARY, "linewidth": 1.2, "markersize": 3.5, "zorder": 3},
    "best baseline": {"color": NOTE, "linewidth": 1.2, "markersize": 3.5, "zorder": 3},
    "": {"color": MUTED, "linewidth": 0.9, "markersize": 3, "zorder": 2},
}


def save_race(
    run_directory: Path, metric: str, *, winner: str | None = None, baselines: Collection[str] = ()
) -> None:
    """Draw ``race.jsonl`` of a run directory to ``race.svg``, if it has a slice.

    For the arguments see ``draw_race``.
    """
    try:
        slices = read_race(run_directory / FILE)
    except FileNotFoundError:
        return
    if slices:
        figure = draw_race(slices, metric, winner=winner, baselines=baselines)
        save_figure(figure, run_directory / "race.svg")


def draw_race(
    slices: Sequence[Slice],
    metric: str,
    *,
    winner: str | None = None,
    baselines: Collection[str] = (),
) -> Figure:
    """Draw the score of each candidate over the time of the run, with a dot after each slice.

    The winner is highlighted. The best other candidate and the best baseline have a color, and all
    other candidates are gray. Outliers among the scores are left out, but none of the winner. The
    slices, at least one, are in the order of time. Of a run that is not complete, ``winner`` is
    None, and the last leader is highlighted.
    """
    series = _series_of(slices)
    leader = slices[-1]["leader"]
    higher = _higher_is_better(series, leader)
    order = _ranked(series, higher)
    first = next(name for name in (winner, leader, order[0]) if name in series)
    others = [name for name in order if name != first]
    roles = {first: "leader" if winner is None else "winner"}
    roles |= dict.fromkeys(others[:1], "best other")
    if first not in baselines:
        roles |= dict.fromkeys([n for n in others if n in baselines][:1], "best baseline")
    title = f"{len(series)} candidate{'s' if len(series) > 1 else ''}"
    figure = new_figure(9.0, 4.2, title, size=11)
    axes = figure.add_subplot()
    lines: dict[str, Line2D] = {}
    for name, members in series.items():
        times = [row["time"] / 60 for row in members]
        known = [math.nan if row["score"] is None else row["score"] for row in members]
        style = _STYLES[roles.get(name, "")]
        (lines[name],) = axes.plot(times, known, "o-", label=for_figure(name), **style)
    axes.set_xlim(0, 1.02 * max(s["time"] for s in slices) / 60 or 1)
    if is_fraction(metric):
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.set_xlabel("time of the run, minutes")
    direction = "" if higher else " (lower is better)"
    axes.set_ylabel(label_text(f"valid {metric.replace('_', ' ')}", 40) + direction)
    style_axes(axes)
    labeled = [name for name in order if name in roles]
    last = {name: format_value(metric, series[name][-1]["score"]) for name in labeled}
    texts = [f"{roles[n]}: {for_figure(last[n])}\n{label_text(n, 36)}" for n in labeled]
    handles = [lines[name] for name in labeled]
    figure.legend(handles, texts, loc="outside right upper", fontsize=8, frameon=False)
    shown = _scores([*series[first], *(series[name][-1] for name in labeled)])
    _leave_out_outliers(figure, _scores(chain.from_iterable(series.values())), shown)
    return figure


def _leave_out_outliers(figure: Figure, scores: Sequence[float], shown: Sequence[float]) -> None:
    """Limit the vertical axis to the scores that are not outliers; a note counts the others.

    Outliers, which would compress all other values, are three interquartile ranges below the first
    or above the third quartile, see Tukey, "Exploratory Data Analysis", 1977. The values in
    ``shown`` are never left out.
    """
    import numpy as np

    if not scores:
        return
    first, third = (float(value) for value in np.quantile(scores, (0.25, 0.75)))
    reach = 3 * (third - first)
    visible = [*shown, *(score for score in scores if first - reach <= score <= third + reach)]
    low, high = min(visible), max(visible)
    count = sum(not low <= score <= high for score in scores)
    if count:
        margin = 0.06 * (high - low) or 0.5
        figure.axes[0].set_ylim(low - margin, high + margin)
        note = f"not drawn: {count} of {len(scores)} scores (outliers)"
        figure.supxlabel(note, fontsize=8, color=NOTE)


def _scores(slices: Iterable[Slice]) -> list[float]:
    """Return the finite scores."""
    return [score for row in slices if (score := row["score"]) is not None]


def _series_of(slices: Sequence[Slice]) -> _Series:
    """Return the slices of each candidate, without those that a resumed run has logged again."""
    series: _Series = {}
    for row in slices:
        members = series.setdefault(row["candidate"], [])
        if not members or members[-1]["seconds"] != row["seconds"]:
            members.append(row)
    return series


def _higher_is_better(series: _Series, leader: str) -> bool:
    """Return the direction of the metric: the leader has the best score."""
    scores = [s for members in series.values() if (s := members[-1]["score"]) is not None]
    best = series[leader][-1]["score"] if leader in series else None
    return best is None or sum(s > best for s in scores) <= sum(s < best for s in scores)


def _ranked(series: _Series, higher: bool) -> list[str]:
    """Return the names of the candidates, that with the best score first."""

    def key(name: str) -> float:
        score = series[name][-1]["score"]
        return -math.inf if score is None else score if higher else -score

    return sorted(series, key=key, reverse=True)
