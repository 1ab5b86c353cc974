"""Boxes, circles, arrows and colors of genotype figures. Lengths are in inches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from darts.escaping import for_figure
from darts.plotting.style import ArtistStyle
from darts.spaces import AnyGenotype

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

BOX_WIDTH, BOX_HEIGHT = 1.06, 0.245  # of operations
STATE_WIDTH, STATE_HEIGHT = 0.62, 0.36  # of inputs and outputs
RADIUS = 0.165  # of nodes
MARGIN, HEADING = 0.22, 0.42  # around a cell; height of its heading

INK, QUIET = "#1f2933", "#7b8794"  # main and secondary text
PALE = "#b8c0cc"  # arrows from nodes to the output of a cell
# Color of line and border, and fill, by a part of an operation's name. The first match counts.
_FAMILIES = {
    "none": ("#7b8794", "#f5f7fa"),
    "pool": ("#c05621", "#fff6ee"),
    "skip": ("#2f855a", "#f0faf4"),
    "sep": ("#2b6cb0", "#eff6fd"),
    "dil": ("#805ad5", "#f6f2fe"),
    "_k5": ("#2b6cb0", "#eff6fd"),
    "_k7": ("#805ad5", "#f6f2fe"),
    "tanh": ("#2b6cb0", "#eff6fd"),
    "relu": ("#c05621", "#fff6ee"),
    "sigmoid": ("#805ad5", "#f6f2fe"),
    "attention": ("#805ad5", "#f6f2fe"),
    "gelu": ("#2b6cb0", "#eff6fd"),
    "identity": ("#2f855a", "#f0faf4"),
    "": ("#0f766e", "#ecfaf8"),
}

# `(x, y)` on the axes of a `CellCanvas`.
Point = tuple[float, float]


@dataclass(frozen=True)
class EdgeStyle:
    """Style of an edge: its curve, its arrow and the box of its operation."""

    line: str  # color of the curve and of the border of the box
    fill: str  # color of the box
    ink: str  # color of the text
    width: float  # of the curve, in points
    alpha: float = 1.0  # opacity
    dashes: str = "-"  # line style of matplotlib
    is_raised: bool = False  # whether to draw the edge over others

    @classmethod
    def for_operation(cls, operation: str) -> EdgeStyle:
        """Return the style of an operation's family."""
        line, fill = next(colors for word, colors in _FAMILIES.items() if word in operation)
        return cls(line, fill, line, 1.7, dashes="--" if operation == "none" else "-")

    def compared(self, *, is_common: bool) -> EdgeStyle:
        """Return the style in a comparison: common edges are faint, others stand out."""
        if is_common:
            return replace(self, width=1.4, alpha=0.35)
        return replace(self, fill=self.line, ink="white", width=2.6, is_raised=True)

    @property
    def stroke(self) -> ArtistStyle:
        style = {"edgecolor": self.line, "alpha": self.alpha}
        return {**style, "linewidth": self.width, "linestyle": self.dashes}


@dataclass(frozen=True)
class CellCanvas:
    """A cell of a genotype, and the axes to draw it on.

    The unit of the axes is an inch. The top left corner is ``(0, 0)``, and y is negative below it.
    A box is placed by the middle of its left side, a circle by its center.
    """

    axes: Axes
    genotype: AnyGenotype
    cell: str
    styles: Sequence[EdgeStyle]  # of each edge
    marked: Collection[int]  # states whose arrows to the output stand out
    gid: str  # prefix of the SVG ids of boxes and curves

    def heading(self) -> None:
        """Draw the name of the cell above it."""
        titles = {
            "normal": "Normal cell",
            "reduce": "Reduction cell",
            "recurrent": "Recurrent cell",
        }
        text = titles.get(self.cell, self.cell.capitalize())
        self.axes.text(MARGIN, -0.2, text, fontsize=11.5, color=QUIET, va="center")

    def operation_box(self, point: Point, operation: str, style: EdgeStyle, gid: str) -> None:
        """Draw a box with the name of an operation."""
        x, y = point
        size = (BOX_WIDTH, BOX_HEIGHT)
        # White below the box, so that no curve shines through a faint box.
        self._rounded_box(x, y, *size, facecolor="white", edgecolor="white", zorder=3)
        stroke = {**style.stroke, "linewidth": 1.2}
        self._rounded_box(x, y, *size, facecolor=style.fill, zorder=3.1, gid=gid, **stroke)
        ink = {"color": style.ink, "alpha": max(style.alpha, 0.5)}
        self.label(x + BOX_WIDTH / 2, y, for_figure(operation), 8.6, **ink)

    def state_box(self, x: float, y: float, name: str, height: float = STATE_HEIGHT) -> None:
        """Draw the box of an input or of the output of the cell."""
        style = {"facecolor": "#e8edf3", "edgecolor": INK, "linewidth": 1.0, "zorder": 4}
        self._rounded_box(x, y, STATE_WIDTH, height, **style)
        size = 12 if name.startswith("$") else 10
        self.label(x + STATE_WIDTH / 2, y, name, size, color=INK, va="center")

    def node_circle(self, x: float, y: float, number: int) -> None:
        """Draw a node as a circle with its number; ``(x, y)`` is its center."""
        from matplotlib.patches import Circle

        self.axes.add_patch(Circle((x, y), RADIUS, facecolor=INK, edgecolor=INK, zorder=4))
        self.label(x, y, str(number), 10, color="white", fontweight="bold")

    def label(self, x: float, y: float, text: str, size: float, **style: object) -> None:
        """Draw text with its center at a point; ``size`` in points."""
        centered: ArtistStyle = {"ha": "center", "va": "center_baseline", "zorder": 5}
        self.axes.text(x, y, text, fontsize=size, **(centered | style))

    def _rounded_box(
        self, x: float, y: float, width: float, height: float, **style: object
    ) -> None:
        from matplotlib.patches import FancyBboxPatch

        options: ArtistStyle = {"boxstyle": "round,pad=0,rounding_size=0.07", **style}
        self.axes.add_patch(FancyBboxPatch((x, y - height / 2), width, height, **options))

    def path(self, points: Sequence[Point], codes: str, **style: object) -> None:
        """Draw a line or curve through points; ``codes`` as for ``make_path``."""
        from matplotlib.patches import PathPatch

        options: ArtistStyle = {"facecolor": "none", "zorder": 2, **style}
        self.axes.add_patch(PathPatch(make_path(points, codes), capstyle="round", **options))

    def arrow(
        self, points: Sequence[Point], color: str = INK, width: float = 1.4, alpha: float = 1.0
    ) -> None:
        """Draw an arrow from the first to the last point, straight or curved.

        Two points give a straight arrow. Of three points, the second one is the control point of a
        quadratic Bezier curve. ``width`` is in points.
        """
        from matplotlib.patches import FancyArrowPatch

        path = make_path(points, "ML" if len(points) == 2 else "MQQ")
        head: ArtistStyle = {"arrowstyle": "-|>,head_length=4,head_width=2.2", "mutation_scale": 1}
        style: ArtistStyle = {"color": color, "alpha": alpha, "linewidth": width, "zorder": 2}
        self.axes.add_patch(FancyArrowPatch(path=path, **head, **style))


def make_path(points: Sequence[Point], codes: str) -> Path:
    """Return a matplotlib path. Each point has a letter in ``codes``, as in SVG.

    M moves to a point, and L draws a line to it. QQ draws a quadratic Bezier curve with one control
    point, CCC a cubic one with two; its end is the last point.
    """
    from matplotlib.path import Path

    kinds = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4}
    return Path(points, [kinds[code] for code in codes])
