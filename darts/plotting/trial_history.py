"""The picture of a black-box search's trials, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    PRIMARY,
    unzip,
    new_figure,
    outlier_bounds,
    shorten,
    style_axes,
    integer_ticks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS: dict[str, dict[str, Any]] = {
    "complete": {"marker": "o", "s": 16, "color": MUTED, "linewidth": 0},
    "pruned": {"marker": "D", "s": 15, "facecolor": "none", "edgecolor": "#E69F00", "linewidth": 1},
    "failed": {"marker": "x", "s": 22, "color": HIGHLIGHT, "linewidth": 1.2},
}
_EDGE = 0.02  # how far from the edge a trial is put whose score is not shown, of the axes' height


def draw_trial_history(
    values: Sequence[float | None],
    states: Sequence[str],
    metric: str,
    higher_is_better: bool,
    *,
    numbers: Sequence[int] | None = None,
    title: str = "",
) -> Figure:
    """Draw every trial as a mark, and the best so far as a line.

    A trial without a finite score, or with one that is far worse than all others, is marked at the
    edge of the bad side, and a line below says so.

    Args:
        values: score of each trial, if it has one.
        states: "complete", "pruned" or "failed".
        metric: name of the score.
        higher_is_better: its direction; only complete trials count as best.
        numbers: of the trials; 0, 1, ... by default.
        title: heading.

    Raises:
        ValueError: for lists of different lengths or an unknown state.
    """
    numbers = range(len(values)) if numbers is None else numbers
    if not len(values) == len(states) == len(numbers):
        raise ValueError(f"{len(values)} values, {len(states)} states and {len(numbers)} numbers")
    strange = [state for state in states if state not in _MARKS]
    if strange:
        raise ValueError(f"no state {strange[0]!r}; choose from {', '.join(_MARKS)}")
    figure = new_figure(7.0, 3.6)
    axes = figure.add_subplot()
    scores = [value if value is not None and math.isfinite(value) else None for value in values]
    shown = _without_outliers(scores, higher_is_better)
    edge = _EDGE if higher_is_better else 1 - _EDGE
    for state, mark in _MARKS.items():
        members = [place for place, own in enumerate(states) if own == state]
        known = [(numbers[p], score) for p in members if (score := shown[p]) is not None]
        lost = [(numbers[p], edge) for p in members if shown[p] is None]
        label = f"{state} ({len(members)})"
        if members:
            axes.scatter(*unzip(known), label=label, zorder=3, **mark)
        if lost:
            # At the edge in the axes' own height, whatever the scores are.
            across = axes.get_xaxis_transform()
            axes.scatter(*unzip(lost), transform=across, zorder=3, **mark)
    steps = _best_so_far(numbers, scores, states, higher_is_better)
    if steps:
        steps.append((max(numbers), steps[-1][1]))
        axes.plot(
            *unzip(steps),
            drawstyle="steps-post",
            color=PRIMARY,
            linewidth=1.8,
            label="best so far",
            zorder=2,
        )
    axes.set_xlabel("trial")
    axes.set_ylabel(shorten(metric))
    axes.margins(y=0.09)
    style_axes(axes)
    integer_ticks(axes)
    if len(values):
        room = max(0.5, 0.03 * (max(numbers) - min(numbers)))
        axes.set_xlim(min(numbers) - room, max(numbers) + room)
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    if all(score is None for score in shown):
        axes.set_yticks([])
    if None in shown:
        note = "at the edge: trials without a score, or with one too far off to be shown"
        figure.supxlabel(note, fontsize=8, color="#555555")
    figure.suptitle(title, fontsize=12)
    return figure


def _best_so_far(
    numbers: Sequence[int],
    scores: Sequence[float | None],
    states: Sequence[str],
    higher_is_better: bool,
) -> list[tuple[float, float]]:
    """The trials that were better than all before them, with their scores."""
    steps: list[tuple[float, float]] = []
    for number, score, state in zip(numbers, scores, states, strict=True):
        if score is None or state != "complete":
            continue
        if not steps or (score > steps[-1][1] if higher_is_better else score < steps[-1][1]):
            steps.append((number, score))
    return steps


def _without_outliers(scores: Sequence[float | None], higher_is_better: bool) -> list[float | None]:
    """Scores, None for those far on the bad side."""
    known = [score for score in scores if score is not None]
    if not known:
        return list(scores)
    low, high = outlier_bounds(known)
    return [
        score if score is None or (score >= low if higher_is_better else score <= high) else None
        for score in scores
    ]
