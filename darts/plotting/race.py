"""The race of ``darts.find``: the score of each candidate over the time of the run."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypedDict

from msgspec import Meta

from darts.escaping import for_figure
from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    NOTE,
    PRIMARY,
    ArtistStyle,
    add_note,
    add_title,
    label_text,
    log_ticks,
    new_figure,
    outlier_bounds,
    save_figure,
    style_axes,
)
from darts.reading import MIB, StrPath, parse_json, read_bytes
from darts.tracking.formats import format_value, is_fraction
from darts.typed_values import Name, Number, typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]


class Slice(TypedDict):
    """A finished slice of training, a row of ``race.jsonl``.

    Attributes:
        time: Seconds of the run so far.
        candidate: Name of the candidate.
        score: Its steering metric on validation data so far; None if it is not a finite number.
        seconds: Seconds of its training so far.
        epochs: Epochs of its training so far.
        leader: Name of the best candidate at this time.
    """

    time: _Seconds
    candidate: Name
    score: Number | None
    seconds: _Seconds
    epochs: Annotated[int, Meta(ge=0, le=10**9)]
    leader: Name


_Series: TypeAlias = dict[str, list[Slice]]  # the slices of each candidate

_LIMIT = MIB  # bytes of race.jsonl, about 6,000 slices
_MAX_LABELS = 5
_LABEL_HEIGHT = 0.1  # of two lines of text, relative to the height of the axes
_MARGIN = 0.05  # between the scores and the ends of the axis, relative to the scores
_LOGARITHMIC = 3  # ratio of scores; an axis with a smaller one might have less than three ticks
_SHORTEST_LEAD = 0.01  # of the run; the slices of a round are logged within a moment


def read_race(path: StrPath) -> list[Slice]:
    """Return the slices in a file ``race.jsonl``; damaged lines are skipped.

    Raises:
        FileError: If the file is too large, or not a regular file.
        OSError: If the file does not exist or cannot be read.
    """
    slices = []
    for line in read_bytes(path, limit=_LIMIT).split(b"\n"):
        with contextlib.suppress(ValueError):
            content = parse_json(line.decode("utf-8"))
            if isinstance(content, dict):
                slices.append(typed(Slice, content))
    return slices


def save_race(
    run_directory: Path, metric: str, *, winner: str | None = None, baselines: Collection[str] = ()
) -> None:
    """Draw ``race.jsonl`` of a run directory to ``race.svg``, if it has a slice.

    Args:
        run_directory: Directory of a run of ``darts.find``.
        metric: Name of the steering metric.
        winner: As for ``draw_race``.
        baselines: As for ``draw_race``.

    Raises:
        FileError: If ``race.jsonl`` is too large, or not a regular file.
        OSError: If a file cannot be read or written.
    """
    try:
        slices = read_race(run_directory / "race.jsonl")
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

    The winner is highlighted, and earlier leaders have a color. These, the next-best candidate and
    the best baseline have labels. All other candidates are gray. Scores far worse than all others
    are drawn at the border of the axes, and so are those that are not finite.

    Args:
        slices: All slices, in the order of time.
        metric: Name of the score.
        winner: Name of the winner; None for a run that is not complete, whose last leader is then
            highlighted.
        baselines: Names of the candidates that are baselines.

    Raises:
        ValueError: If there are no slices.
    """
    if not slices:
        raise ValueError("there are no slices to draw")
    series = _series_of(slices)
    higher = _higher_is_better(series, slices[-1]["leader"])
    order = _ranked(series, higher)
    first = next(name for name in (winner, slices[-1]["leader"], order[0]) if name in series)
    leaders = [name for name in _leaders(slices) if name in series and name != first]
    roles = {first: "leader" if winner is None else "winner"}
    roles |= _other_roles([n for n in order if n != first], leaders, first, baselines)
    styles = {name: _style_of(name, first, leaders, roles) for name in series}
    figure = new_figure(9.0, 4.2)
    axes = figure.add_subplot()
    unit, seconds = _time_unit(slices)
    axes.set_xlim(0, 1.02 * max(s["time"] for s in slices) / seconds or 1)
    low, high = _set_score_axis(axes, series, first, higher)
    border = low if higher else high
    ends: dict[str, tuple[float, float]] = {}
    is_outside = False
    for name, members in series.items():
        known = [border if s["score"] is None else s["score"] for s in members]
        scores = [score if low < score < high else border for score in known]
        times = [s["time"] / seconds for s in members]
        axes.plot(times, scores, label=for_figure(name), clip_on=False, **styles[name])
        ends[name] = (times[-1], scores[-1])
        is_outside |= border in scores
    for name, height in _label_heights(axes, {name: ends[name] for name in roles}).items():
        score = format_value(metric, series[name][-1]["score"])
        text = f"{roles[name]}: {for_figure(score)}\n{label_text(name, 36)}"
        _add_label(axes, text, ends[name], height, styles[name]["color"])
    if is_fraction(metric) and low >= -1 and high <= 2:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.set_xlabel(f"time of the run, {unit}")
    direction = "" if higher else " (lower is better)"
    axes.set_ylabel(label_text(f"valid {metric.replace('_', ' ')}", 40) + direction)
    style_axes(axes)
    add_title(figure, f"{len(series)} candidate{'s' if len(series) > 1 else ''}", size=11)
    if is_outside:
        add_note(figure, "at the border: scores that are far worse than all others, or not finite")
    return figure


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


def _leaders(slices: Sequence[Slice]) -> list[str]:
    """Return the candidates that have led for some time, in this order."""
    times: dict[str, float] = {}
    for row, following in itertools.pairwise(slices):
        name = row["leader"]
        times[name] = times.get(name, 0.0) + following["time"] - row["time"]
    shortest = _SHORTEST_LEAD * slices[-1]["time"]
    return [name for name, time in times.items() if time > shortest]


def _other_roles(
    order: Sequence[str], leaders: Sequence[str], first: str, baselines: Collection[str]
) -> dict[str, str]:
    """Return why candidates other than the first one have a label."""
    roles = dict.fromkeys(order[:1], "best other")
    if first not in baselines:
        best = [name for name in order if name in baselines][:1]
        roles |= {
            name: "best other, a baseline" if name in roles else "best baseline" for name in best
        }
    roles |= {name: "led before" for name in reversed(leaders) if name not in roles}
    return dict(itertools.islice(roles.items(), _MAX_LABELS - 1))


def _style_of(
    name: str, first: str, leaders: Collection[str], roles: Collection[str]
) -> ArtistStyle:
    if name == first:
        return {"marker": "o", "color": HIGHLIGHT, "linewidth": 2.2, "markersize": 5, "zorder": 4}
    if name in leaders or name in roles:
        color = PRIMARY if name in leaders else NOTE
        return {"marker": "o", "color": color, "linewidth": 1.2, "markersize": 3.5, "zorder": 3}
    return {"marker": "o", "color": MUTED, "linewidth": 0.9, "markersize": 3, "zorder": 2}


def _time_unit(slices: Sequence[Slice]) -> tuple[str, float]:
    """Return the largest unit of which the run takes at least two, and its seconds."""
    units = (("hours", 3600.0), ("minutes", 60.0))
    end = slices[-1]["time"]
    return next((unit for unit in units if end >= 2 * unit[1]), ("seconds", 1.0))


def _set_score_axis(axes: Axes, series: _Series, first: str, higher: bool) -> tuple[float, float]:
    """Fit the vertical axis to all scores but outliers on the worse side; return its ends.

    The scores of the first candidate are never outliers. Scores of which lower is better, such as a
    perplexity, fall by factors: the axis is logarithmic.
    """
    scores = {name: _known_scores(members) for name, members in series.items()}
    known = [score for own in scores.values() for score in own]
    if not known:
        axes.set_yticks([])
        axes.set_ylim(0, 1)
        return 0.0, 1.0
    is_log = not higher and min(known) > 0 and max(known) >= _LOGARITHMIC * min(known)
    scale, inverse = (math.log, math.exp) if is_log else (float, float)
    low, high = outlier_bounds([scale(own[-1]) for own in scores.values() if own])
    values = [scale(score) for score in known]
    visible = [v for v in values if (v >= low if higher else v <= high)]
    visible += map(scale, scores[first])
    margin = _MARGIN * (max(visible) - min(visible)) or 0.05 * abs(visible[0]) or 0.5
    axes.set_ylim(inverse(min(visible) - margin), inverse(max(visible) + margin))
    if is_log:
        log_ticks(axes, "y")
    low, high = axes.get_ylim()
    return low, high


def _known_scores(slices: Iterable[Slice]) -> list[float]:
    return [score for s in slices if (score := s["score"]) is not None]


def _label_heights(axes: Axes, ends: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Return the height of each label, near that of its last dot, so that no labels overlap.

    Heights are relative to that of the axes.
    """
    to_axes = axes.transScale + axes.transLimits
    heights = {name: float(to_axes.transform(end)[1]) for name, end in ends.items()}
    names = sorted(heights, key=heights.__getitem__, reverse=True)  # the winner above its equals
    floor, ceiling = -math.inf, 1.0
    for name in reversed(names):
        heights[name] = max(heights[name], floor)
        floor = heights[name] + _LABEL_HEIGHT
    for name in names:
        heights[name] = min(heights[name], ceiling)
        ceiling = heights[name] - _LABEL_HEIGHT
    return heights


def _add_label(axes: Axes, text: str, end: tuple[float, float], height: float, color: str) -> None:
    """Write a label next to the axes, with a dotted line from the last dot of its candidate."""
    right = axes.get_xlim()[1]
    axes.hlines(end[1], end[0], right, color=color, linewidth=0.8, linestyle=":", zorder=1)
    line: ArtistStyle = {"arrowstyle": "-", "color": color, "linewidth": 0.8, "linestyle": ":"}
    axes.annotate(
        text,
        (1.0, end[1]),
        xycoords=("axes fraction", "data"),
        xytext=(1.03, height),
        textcoords="axes fraction",
        va="center",
        fontsize=8,
        color=color,
        arrowprops={**line, "shrinkA": 0, "shrinkB": 0, "relpos": (0.0, 0.5)},
    )
