"""Line charts as SVG. The style sheet of the page defines their colors for light and dark mode."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darts.escaping import for_html
from darts.reporting.markup import element

_COLORS = 8  # number of colors in the style sheet
_SMALLEST, _LARGEST = 1e-100, 1e100  # range of absolute values; smaller ones become 0
_RIGHT = 8.0  # margin on the right of the axes, in pixels


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: Name in the legend.
        points: ``(x, y)``; points whose y is not a finite number below 1e100 are skipped.
        color_index: Index of the color. After eight lines the colors repeat, dashed. None is gray
            and dashed.
        thick: Whether the line is thick.
        dots: Whether to draw only dots, without a line.
    """

    label: str
    points: Sequence[tuple[float, float | None]]
    color_index: int | None = 0
    thick: bool = False
    dots: bool = False

    @property
    def finite_points(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        # Floats near 1e-308 and below have fewer digits, too few for the ticks of an axis.
        return [
            (x, y if abs(y) > _SMALLEST else 0.0)
            for x, y in self.points
            if isinstance(y, (int, float)) and abs(y) < _LARGEST
        ]

    @property
    def color_class(self) -> str:
        """CSS class of the color."""
        return "cn" if self.color_index is None else f"c{self.color_index % _COLORS}"

    @property
    def line_class(self) -> str:
        """CSS classes of the color and the dashes."""
        dashed = self.color_index is None or self.color_index // _COLORS % 2
        return f"{self.color_class}{' d' if dashed else ''}"


@dataclass(frozen=True)
class _Frame:
    """Geometry of a chart in pixels, and the ranges of its axes."""

    width: float
    height: float
    left: float  # width of the labels on the left of the axes
    font: float  # size of the font
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Return the horizontal position of a value, in pixels."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.width - self.left - _RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical position of a value, in pixels from the top."""
        low, high = self.y_range
        bottom = self.height - 1.7 * self.font
        return bottom - (value - low) / (high - low) * (bottom - 0.7 * self.font)


def chart(
    lines: Sequence[Line],
    title: str,
    *,
    small: bool = False,
    percent: bool = False,
    top: float | None = None,
    counts: bool = False,
    caption: str = "",
    x_label: str = "epoch",
) -> str:
    """Return a panel with lines; an empty string if no line has a point.

    Args:
        lines: The lines.
        title: Title of the panel.
        small: Whether the panel is small and has no legend, as one of many.
        percent: Whether the values are fractions, which are shown in percent.
        top: Upper end of the vertical axis, which then starts at 0. Default: the axis fits the
            values.
        counts: Whether the values are integers. The vertical axis then starts at 0.
        caption: Markup that is shown instead of the title.
        x_label: Name of the horizontal axis, whose values are integers.
    """
    points = [point for line in lines for point in line.finite_points]
    if not points:
        return ""
    width, height = (170.0, 100.0) if small else (340.0, 200.0)
    font = 9 if small else 11
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if counts and top is None:
        top = 1.05 * max(1.0, *ys)
    x_range = _axis_range(min(xs), max(xs), 0.0)
    y_range = _axis_range(min(ys), max(ys), 0.05) if top is None else (0.0, top or 1.0)
    max_ticks = 2 if small else 5
    y_ticks = ticks(*y_range, max_ticks, whole=counts)
    scale, unit = (100, " %") if percent else (1, "")
    y_labels = format_ticks([scale * y for y in y_ticks], unit)
    left = max(3.4, 0.8 + 0.58 * max(map(len, y_labels), default=0)) * font
    frame = _Frame(width, height, left, font, x_range, y_range)
    parts = []
    for y, text in zip(y_ticks, y_labels, strict=True):
        parts.append(
            f'<line class="grid" x1="{left:g}" x2="{width - _RIGHT:g}" '
            f'y1="{frame.y(y):.1f}" y2="{frame.y(y):.1f}"/>'
        )
        parts.append(_text(left - 4, frame.y(y) + 0.35 * font, text, font, "end"))
    for x in ticks(*x_range, max_ticks, whole=True):
        parts.append(_text(frame.x(x), height - 0.4 * font, f"{x:g}", font, "middle"))
    if not small:
        parts.append(_text(0.0, height - 0.4 * font, x_label, 0.8 * font, "start"))
    for line in sorted(lines, key=lambda line: line.thick):  # thick lines are on top
        parts += _draw_line(line, frame)
    drawing = element(
        "svg", "".join(parts), viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=title
    )
    names = "" if small or len(lines) < 2 else legend(lines)
    return element("figure", element("figcaption", caption or for_html(title)) + names + drawing)


def _draw_line(line: Line, frame: _Frame) -> list[str]:
    """Return the SVG elements of a line: dots, a polyline, or nothing."""
    points = [(frame.x(x), frame.y(y)) for x, y in line.finite_points]
    tooltip = f"<title>{for_html(line.label)}</title>"
    if line.dots or len(points) == 1:
        return [
            f'<circle class="p {line.color_class}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">'
            f"{tooltip}</circle>"
            for x, y in points
        ]
    if not points:
        return []
    css_class = f"l {line.line_class}{' k' if line.thick else ''}"
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [f'<polyline class="{css_class}" points="{corners}">{tooltip}</polyline>']


def legend(lines: Iterable[Line]) -> str:
    """Return a list of the names of lines with their colors and dashes."""
    items = (element("li", for_html(line.label), class_=line.line_class) for line in lines)
    return element("ul", "".join(items), class_="legend")


def charts(panels: Iterable[str], *, small: bool = False) -> str:
    """Return a grid of panels; an empty string if all panels are empty."""
    content = "".join(panels)
    return element("div", content, class_="charts small" if small else "charts") if content else ""


def ticks(low: float, high: float, intervals: int, *, whole: bool = False) -> list[float]:
    """Return at most ``intervals + 1`` evenly spaced round numbers from ``low`` to ``high``.

    With ``whole`` they are integers. ``low`` must be less than ``high``.
    """
    step = 10.0 ** math.floor(math.log10((high - low) / intervals))
    step = next(
        step * m for m in (1, 2, 2.5, 5, 10) if (high - low) / (step * m) <= intervals * (1 + 1e-9)
    )
    if whole:
        step = max(1.0, math.ceil(step))
    # Not relative to the step: integer steps may be far longer than the axis.
    tolerance = 1e-9 * (high - low)
    first, last = math.ceil((low - tolerance) / step), math.floor((high + tolerance) / step)
    return [number * step for number in range(first, last + 1)]


def format_ticks(values: Sequence[float], unit: str = "") -> list[str]:
    """Format ticks with as many decimals as are needed to distinguish them."""
    step = min((b - a for a, b in itertools.pairwise(values)), default=1.0)
    if not 1e-5 <= step < 1e6:
        return [f"{value:.3g}{unit}" for value in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals or step < 10:
        # One more decimal for steps such as 2.5.
        decimals += abs(step * 10**decimals - round(step * 10**decimals)) > 1e-3
    return [f"{value:.{decimals}f}{unit}" for value in values]


def _axis_range(low: float, high: float, margin: float) -> tuple[float, float]:
    """Return the range of an axis: the range of the values with a relative margin at both ends."""
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # a single value, which has no range
        half = 0.05 * abs(low) or 0.5
        return (low - 0.5, high + 0.5) if margin == 0 else (low - half, high + half)
    return low - margin * (high - low), high + margin * (high - low)


def _text(x: float, y: float, text: str, size: float, anchor: str) -> str:
    """Return a text element; ``anchor`` is SVG's ``start``, ``middle`` or ``end``."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}">'
        f"{for_html(text)}</text>"
    )
