"""Figure of a metric against a cost, with the Pareto front of the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from darts.judging.pareto import has_number, pareto_front
from darts.plotting.style import HIGHLIGHT, MUTED, log_ticks, new_figure, shorten, style_axes, unzip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Offsets of a label in points, in order of preference: first on the side without other trials.
_OFFSETS = ((-5, 5), (0, 7), (-5, 12), (-14, 5), (7, -7), (7, 5), (-5, -9))


def draw_pareto_front(
    rows: Sequence[Mapping[str, object]],
    metric: str,
    cost: str,
    higher_is_better: bool,
    *,
    title: str = "",
) -> Figure:
    """Draw a metric against a cost; the Pareto front is highlighted and labeled by trial.

    Labels that would overlap are left out.

    Args:
        rows: Trials with numbers for both names; others are skipped. ``trial`` is the label of a
            trial. Default: its position.
        metric: Name of the score.
        cost: Name of the cost, which is minimized.
        higher_is_better: Direction of the metric.
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
    axes.plot(
        *unzip(list(labels)),
        drawstyle="steps-post",
        color=HIGHLIGHT,
        marker="o",
        markersize=5,
        linewidth=1.4,
        label="Pareto front",
        zorder=3,
    )
    costs = [x for x, _ in points]
    if min(costs) > 0 and max(costs) > 30 * min(costs):
        log_ticks(axes)
    axes.set_xlabel(shorten(cost))
    axes.set_ylabel(shorten(metric))
    axes.margins(0.1)
    style_axes(axes)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=12)
    texts = [", ".join(names[:3]) + ", …" * (len(names) > 3) for names in labels.values()]
    _label_points(figure, axes, list(labels), texts, 1 if higher_is_better else -1)
    return figure


def _label_points(
    figure: Figure, axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str], up: int
) -> None:
    """Write each text next to its point, unless it would cover a point or another text."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # to compute the positions of the axes
    size = figure.dpi / 72
    centers = axes.transData.transform(points)
    taken = [Bbox.from_bounds(x - 3 * size, y - 3 * size, 6 * size, 6 * size) for x, y in centers]
    for point, text in zip(points, texts, strict=True):
        for right, above in _OFFSETS:
            note = axes.annotate(
                text,
                point,
                xytext=(right, above * up),
                textcoords="offset points",
                ha="right" if right < 0 else "left" if right > 0 else "center",
                va="bottom" if above * up > 0 else "top",
                fontsize=8,
                color=HIGHLIGHT,
            )
            note.set_in_layout(False)
            box = note.get_window_extent()
            fits = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            if fits and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            note.remove()
