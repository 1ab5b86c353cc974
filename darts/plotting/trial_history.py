"""Figure of the trials of a study in their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from darts.plotting.style import (
    HIGHLIGHT,
    MUTED,
    PRIMARY,
    ArtistStyle,
    integer_ticks,
    new_figure,
    outlier_bounds,
    shorten,
    style_axes,
    unzip,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS: dict[str, ArtistStyle] = {
    "complete": {"marker": "o", "s": 16, "color": MUTED, "linewidth": 0},
    "pruned": {"marker": "D", "s": 15, "facecolor": "none", "edgecolor": "#E69F00", "linewidth": 1},
    "failed": {"marker": "x", "s": 22, "color": HIGHLIGHT, "linewidth": 1.2},
}
_MARGIN = (
    0.02  # distance of trials without a visible score from the edge, as fraction of the height
)


def draw_trial_history(
    values: Sequence[float | None],
    states: Sequence[str],
    metric: str,
    higher_is_better: bool,
    *,
    numbers: Sequence[int] | None = None,
    title: str = "",
) -> Figure:
    """Draw every trial as a marker, and the best score so far as a line.

    Trials without a finite score, or with one far worse than all others, are drawn at the edge of
    the worse side, and a note explains them.

    Args:
        values: Score of each trial, or None.
        states: "complete", "pruned" or "failed" for each trial.
        metric: Name of the score.
        higher_is_better: Direction of the score. Only complete trials can be the best.
        numbers: Numbers of the trials. Default: 0, 1, ...
        title: Title of the figure.

    Raises:
        ValueError: If the lists have different lengths, or a state is unknown.
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
    edge = _MARGIN if higher_is_better else 1 - _MARGIN
    for state, marker in _MARKERS.items():
        members = [position for position, own in enumerate(states) if own == state]
        inside = [(numbers[p], score) for p in members if (score := visible[p]) is not None]
        outside = [(numbers[p], edge) for p in members if visible[p] is None]
        label = f"{state} ({len(members)})"
        if members:
            axes.scatter(*unzip(inside), label=label, zorder=3, **marker)
        if outside:
            # Vertical position as a fraction of the axes, whatever the scores are.
            transform = axes.get_xaxis_transform()
            axes.scatter(*unzip(outside), transform=transform, zorder=3, **marker)
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
        margin = max(0.5, 0.03 * (max(numbers) - min(numbers)))
        axes.set_xlim(min(numbers) - margin, max(numbers) + margin)
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    if all(score is None for score in visible):
        axes.set_yticks([])
    if None in visible:
        note = "at the edge: trials without a score, or with a score outside of the axis"
        figure.supxlabel(note, fontsize=8, color="#555555")
    figure.suptitle(title, fontsize=12)
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
    """Replace scores that are far on the worse side with None."""
    known = [score for score in scores if score is not None]
    if not known:
        return list(scores)
    low, high = outlier_bounds(known)
    return [
        score if score is None or (score >= low if higher_is_better else score <= high) else None
        for score in scores
    ]
