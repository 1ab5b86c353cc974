"""The picture of a metric against a cost, and the trials that are on its Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from darts.judging.pareto import has_number, pareto
from darts.plotting.style import HIGHLIGHT, MUTED, unzip, log_ticks, new_figure, shorten, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Where a label may stand, in points from its own: on the side of the front where no trial is first.
_OFFSETS = ((-5, 5), (0, 7), (-5, 12), (-14, 5), (7, -7), (7, 5), (-5, -9))


def draw_pareto_front(
    rows: Sequence[Mapping[str, Any]],
    metric: str,
    cost: str,
    higher_is_better: bool,
    *,
    title: str = "",
) -> Figure:
    """Draw a metric against a cost, the Pareto front highlighted and labeled by trial.

    Where the front is crowded, a label that finds no room is left out.

    Args:
        rows: with numbers under the two names; those without are passed over. ``trial`` is their
            label, by default their position.
        metric: name of the score.
        cost: name of what is to be small.
        higher_is_better: direction of the metric.
        title: heading.

    Raises:
        ValueError: when no row has both numbers.
    """
    known = [
        {"trial": place, **row}
        for place, row in enumerate(rows)
        if has_number(row, metric) and has_number(row, cost)
    ]
    if not known:
        raise ValueError(f"no row has both {metric} and {cost}")
    places = pareto_front(known, {metric: higher_is_better, cost: False})
    best: dict[tuple[float, float], list[str]] = {}  # the trials at each point of the front
    for place in sorted(places, key=lambda place: (known[place][cost], known[place]["trial"])):
        row = known[place]
        best.setdefault((row[cost], row[metric]), []).append(str(row["trial"]))
    figure = new_figure(6.0, 4.2)
    axes = figure.add_subplot()
    others = [p for row in known if (p := (row[cost], row[metric])) not in best]
    if others:
        axes.scatter(
            *unzip(others), s=16, color=MUTED, linewidth=0, label="dominated", zorder=2
        )
    axes.plot(
        *unzip(list(best)),
        drawstyle="steps-post",
        color=HIGHLIGHT,
        marker="o",
        markersize=5,
        linewidth=1.4,
        label="Pareto front",
        zorder=3,
    )
    costs = [row[cost] for row in known]
    if min(costs) > 0 and max(costs) > 30 * min(costs):
        log_ticks(axes)
    axes.set_xlabel(shorten(cost))
    axes.set_ylabel(shorten(metric))
    axes.margins(0.1)
    style_axes(axes)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=12)
    texts = [", ".join(trials[:3]) + ", …" * (len(trials) > 3) for trials in best.values()]
    _label(figure, axes, list(best), texts, 1 if higher_is_better else -1)
    return figure


def _label(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    up: int,
) -> None:
    """Write beside each point its text, where it covers neither a point nor another text."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # so that the axes have their place
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
