"""Curves as SVG that takes its colors from the page, so that they suit light and dark."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darts.reporting.markup import element, escape

_COLOURS = 8

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: its name.
        points: of it; those that are no finite numbers are passed over.
        number: by which it gets its color, and beyond eight a dash; None is gray and dashed.
        strong: drawn thicker.
        dots: draw points alone.
    """

    label: str
    points: Sequence[tuple[float, float | None]]
    number: int | None = 0
    strong: bool = False
    dots: bool = False

    @property
    def known(self) -> list[Point]:
        """The points that can be drawn."""
        return [(x, y) for x, y in self.points if y is not None and math.isfinite(y)]

    @property
    def color(self) -> str:
        """Class of its color."""
        return "cn" if self.number is None else f"c{self.number % _COLOURS}"

    @property
    def kind(self) -> str:
        """Classes of its path."""
        return f"l {self.color}{self.dash}{' k' if self.strong else ''}"

    @property
    def dash(self) -> str:
        """A further class if it is dashed."""
        return " d" if self.number is None or self.number // _COLOURS % 2 else ""


def chart(
    lines: Sequence[Line],
    title: str,
    *,
    small: bool = False,
    percent: bool = False,
    top: float | None = None,
    counts: bool = False,
    caption: str = "",
    across_is: str = "epoch",
) -> str:
    """A panel with curves over the epochs, or over something else.

    Args:
        lines: the curves; nothing is drawn when none has a point.
        title: what they are.
        small: for many panels beside each other; without a legend.
        percent: values are fractions, told in percent.
        top: the vertical axis goes from 0 to here; around all values by default.
        counts: values are whole numbers, told from 0.
        caption: markup in the place of the title.
        across_is: what the horizontal axis is.
    """
    points = [point for line in lines for point in line.known]
    if not points:
        return ""
    width, height = (170.0, 100.0) if small else (340.0, 200.0)
    size = 9 if small else 11
    bottom, right, above = 1.7 * size, 8.0, 0.7 * size
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x0, x1 = _room(min(xs), max(xs), 0.0)
    if counts and top is None:
        top = 1.05 * max(1.0, *ys)
    y0, y1 = _room(min(ys), max(ys), 0.05) if top is None else (0.0, top or 1.0)
    few = 2 if small else 5
    marks = ticks(y0, y1, few, whole=counts)
    shown = format_ticks([100 * y for y in marks] if percent else marks, " %" if percent else "")
    left = max(3.4, 0.8 + 0.58 * max(map(len, shown), default=0)) * size

    def across(x: float) -> float:
        return left + (x - x0) / (x1 - x0) * (width - left - right)

    def up(y: float) -> float:
        return height - bottom - (y - y0) / (y1 - y0) * (height - bottom - above)

    parts = []
    for y, text in zip(marks, shown, strict=True):
        parts.append(
            f'<line class="grid" x1="{left:g}" x2="{width - right:g}" '
            f'y1="{up(y):.1f}" y2="{up(y):.1f}"/>'
        )
        parts.append(_text(left - 4, up(y) + 0.35 * size, text, size, "end"))
    for x in ticks(x0, x1, few, whole=True):
        parts.append(_text(across(x), height - 0.4 * size, f"{x:g}", size, "middle"))
    if not small:
        parts.append(_text(0.0, height - 0.4 * size, across_is, 0.8 * size, "start"))
    for line in sorted(lines, key=lambda line: line.strong):
        known = [(across(x), up(y)) for x, y in line.known]
        hint = f"<title>{escape(line.label)}</title>"
        if line.dots or len(known) == 1:
            parts += [
                f'<circle class="p {line.color}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">{hint}</circle>'
                for x, y in known
            ]
        elif known:
            way = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
            parts.append(f'<polyline class="{line.kind}" points="{way}">{hint}</polyline>')
    drawing = element(
        "svg",
        "".join(parts),
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
    )
    below = "" if small or len(lines) < 2 else legend(lines)
    return element("figure", element("figcaption", caption or escape(title)) + below + drawing)


def legend(lines: Iterable[Line]) -> str:
    """The names of curves with their colors."""
    return element(
        "ul",
        "".join(
            element("li", escape(line.label), class_=f"{line.color}{line.dash}") for line in lines
        ),
        class_="legend",
    )


def charts(panels: Iterable[str], *, small: bool = False) -> str:
    """Panels beside each other, as many as fit; nothing without one."""
    known = "".join(panels)
    return element("div", known, class_="charts small" if small else "charts") if known else ""


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """At most ``most + 1`` round numbers from ``low`` to ``high``, evenly spaced."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(
        step * m for m in (1, 2, 2.5, 5, 10) if (high - low) / (step * m) <= most * (1 + 1e-9)
    )
    if whole:
        step = max(1.0, math.ceil(step))
    room = 1e-9 * (high - low)  # of the axis, not of a step, which may be far longer
    first, last = math.ceil((low - room) / step), math.floor((high + room) / step)
    return [number * step for number in range(first, last + 1)]


def format_ticks(marks: Sequence[float], unit: str = "") -> list[str]:
    """Ticks with as many decimals as tell them apart."""
    step = min((b - a for a, b in itertools.pairwise(marks)), default=1.0)
    if not 1e-5 <= step < 1e6:
        return [f"{mark:.3g}{unit}" for mark in marks]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals or step < 10:
        decimals += abs(step * 10**decimals - round(step * 10**decimals)) > 1e-3  # as of 2.5
    return [f"{mark:.{decimals}f}{unit}" for mark in marks]


def _room(low: float, high: float, share: float) -> tuple[float, float]:
    """An axis around values, with room at both ends; around a single value in any case."""
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        half = 0.5 * abs(low) * 0.1 or 0.5
        return (low - 0.5, high + 0.5) if share == 0 else (low - half, high + half)
    return low - share * (high - low), high + share * (high - low)


def _text(x: float, y: float, text: str, size: float, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
