"""Figures of the trials of a study: the history of their scores, and their Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from darts.judging.pareto import has_number, pareto_front
from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    PRIMARY,
    ArtistStyle,
    add_legend,
    add_note,
    add_title,
    integer_ticks,
    label_text,
    log_ticks,
    new_figure,
    outlier_bounds,
    style_axes,
    unzip,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS: dict[str, ArtistStyle] = {
    "complete": {"marker": "o", "s": 16, "color": MUTED, "linewidth": 0},
    "pruned": {"marker": "D", "s": 15, "facecolor": "none", "edgecolor": "#E69F00", "linewidth": 1},
    "failed": {"marker": "x", "s": 22, "color": HIGHLIGHT, "linewidth": 1.2},
}
# Distance of trials without a visible score from the border of the axes, relative to their height.
_BORDER = 0.02
# Offsets of a label in points (right, away from the other trials), in order of preference.
_OFFSETS = ((-5, 5), (0, 7), (-5, 12), (-14, 5), (7, -7), (7, 5), (-5, -9))


def draw_trial_history(
    values: Sequence[float | None],
    states: Sequence[str],
    metric: str,
    higher_is_better: bool,
    *,
    numbers: Sequence[int] | None = None,
    title: str = "",
) -> Figure:
    """Draw the score of each trial as a marker, and the best score so far as a line.

    Trials without a finite score, or with one far worse than all others, are drawn at the border
    of the axes on the worse side, and a note explains them.

    Args:
        values: Score of each trial, or None.
        states: "complete", "pruned" or "failed" for each trial; only complete ones can be the best.
        metric: Name of the score.
        higher_is_better: Whether higher scores are better.
        numbers: Numbers of the trials. Default: 0, 1, ...
        title: Title of the figure.

    Raises:
        ValueError: If a state is unknown, or the lengths differ.
    """
    numbers = range(len(values)) if numbers is None else numbers
    if not len(values) == len(states) == len(numbers):
        raise ValueError(
            f"{len(values)} values, {len(states)} states and {len(numbers)} numbers: must be equal"
        )
    unknown = [state for state in states if state not in _MARKERS]
    if unknown:
        raise ValueError(f"state {unknown[0]!r} is unknown; choose from {', '.join(_MARKERS)}")
    figure = new_figure(7.0, 3.6)
    axes = figure.add_subplot()
    scores = [value if value is not None and math.isfinite(value) else None for value in values]
    visible = _without_outliers(scores, higher_is_better)
    border = _BORDER if higher_is_better else 1 - _BORDER
    for state, marker in _MARKERS.items():
        members = [p for p, trial_state in enumerate(states) if trial_state == state]
        inside = [(numbers[p], score) for p in members if (score := visible[p]) is not None]
        outside = [(numbers[p], border) for p in members if visible[p] is None]
        label = f"{state} ({len(members)})"
        if members:
            axes.scatter(*unzip(inside), label=label, zorder=3, **marker)
        if outside:
            # The vertical position is a fraction of the axes, not a score.
            transform = axes.get_xaxis_transform()
            axes.scatter(*unzip(outside), transform=transform, zorder=3, **marker)
    steps = _best_so_far(numbers, scores, states, higher_is_better)
    if steps:
        steps.append((max(numbers), steps[-1][1]))
        line: ArtistStyle = {"drawstyle": "steps-post", "color": PRIMARY, "linewidth": 1.8}
        axes.plot(*unzip(steps), label="best so far", zorder=2, **line)
    axes.set_xlabel("trial")
    axes.set_ylabel(label_text(metric))
    axes.margins(y=0.09)
    style_axes(axes)
    integer_ticks(axes)
    if len(values):
        margin = max(0.5, 0.03 * (max(numbers) - min(numbers)))
        axes.set_xlim(min(numbers) - margin, max(numbers) + margin)
    if all(score is None for score in visible):
        axes.set_yticks([])
    if None in visible:
        add_note(figure, "at the border: trials without a score or with an outlying score")
    if len(values):
        add_legend(figure)
    add_title(figure, title)
    return figure


def _best_so_far(
    numbers: Sequence[int],
    scores: Sequence[float | None],
    states: Sequence[str],
    higher_is_better: bool,
) -> list[tuple[float, float]]:
    """Return number and score of each trial that is better than all trials before it."""
    steps: list[tuple[float, float]] = []
    for number, score, state in zip(numbers, scores, states, strict=True):
        if score is None or state != "complete":
            continue
        if not steps or (score > steps[-1][1] if higher_is_better else score < steps[-1][1]):
            steps.append((number, score))
    return steps


def _without_outliers(scores: Sequence[float | None], higher_is_better: bool) -> list[float | None]:
    """Replace outliers on the worse side with None."""
    known = [score for score in scores if score is not None]
    if not known:
        return list(scores)
    low, high = outlier_bounds(known)
    return [
        score if score is None or (score >= low if higher_is_better else score <= high) else None
        for score in scores
    ]


def draw_pareto_front(
    rows: Sequence[Mapping[str, object]],
    metric: str,
    cost: str,
    higher_is_better: bool,
    *,
    title: str = "",
) -> Figure:
    """Draw a metric against a cost; the Pareto front is highlighted and labeled by trial.

    Lower costs are better. Rows without a number for both names are skipped. Labels that would
    overlap others are left out.

    Args:
        rows: Trials with their metrics and costs by name. A row without the number ``trial`` is
            labeled by its position.
        metric: Name of the metric.
        cost: Name of the cost.
        higher_is_better: Whether higher values of the metric are better.
        title: Title of the figure.

    Raises:
        ValueError: If no row has both numbers.
    """
    trials: list[Mapping[str, object]] = [
        {"trial": position, **row}
        for position, row in enumerate(rows)
        if has_number(row, metric) and has_number(row, cost)
    ]
    if not trials:
        raise ValueError(f"no row has both {metric} and {cost}")
    points = [(cast("float", t[cost]), cast("float", t[metric])) for t in trials]
    labels: dict[tuple[float, float], list[str]] = {}  # the trials at each point of the front
    positions = pareto_front(trials, {metric: higher_is_better, cost: False})
    for position in sorted(positions, key=lambda p: (points[p][0], trials[p]["trial"])):
        labels.setdefault(points[position], []).append(str(trials[position]["trial"]))
    figure = new_figure(6.0, 4.2)
    axes = figure.add_subplot()
    others = [point for point in points if point not in labels]
    if others:
        axes.scatter(*unzip(others), s=16, color=MUTED, linewidth=0, label="dominated", zorder=2)
    line: ArtistStyle = {"drawstyle": "steps-post", "color": HIGHLIGHT, "linewidth": 1.4}
    marker: ArtistStyle = {"marker": "o", "markersize": 5}
    axes.plot(*unzip(list(labels)), label="Pareto front", zorder=3, **line, **marker)
    costs = [x for x, _ in points]
    if min(costs) > 0 and max(costs) > 30 * min(costs):
        log_ticks(axes)
    axes.set_xlabel(label_text(cost))
    axes.set_ylabel(label_text(metric))
    axes.margins(0.1)
    style_axes(axes)
    add_legend(figure)
    add_title(figure, title)
    texts = [", ".join(names[:3]) + ", …" * (len(names) > 3) for names in labels.values()]
    _label_points(figure, axes, list(labels), texts, 1 if higher_is_better else -1)
    return figure


def _label_points(
    figure: Figure, axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str], up: int
) -> None:
    """Write each text next to its point, unless it would cover a point or another text.

    ``up`` is 1 if the side of the front without other trials is above it, and -1 if below.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # computes the positions of the axes
    size = figure.dpi / 72  # pixels per point
    centers = axes.transData.transform(points)
    taken = [Bbox.from_bounds(x - 3 * size, y - 3 * size, 6 * size, 6 * size) for x, y in centers]
    style: ArtistStyle = {"textcoords": "offset points", "fontsize": 8, "color": HIGHLIGHT}
    for point, text in zip(points, texts, strict=True):
        for right, above in _OFFSETS:
            ha = "right" if right < 0 else "left" if right > 0 else "center"
            va = "bottom" if above * up > 0 else "top"
            note = axes.annotate(text, point, xytext=(right, above * up), ha=ha, va=va, **style)
            note.set_in_layout(False)
            box = note.get_window_extent()
            fits = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            if fits and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            note.remove()
